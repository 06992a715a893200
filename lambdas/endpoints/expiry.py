"""How long an endpoint stays on."""

from datetime import UTC, datetime, timedelta

from contract.run import DeploySection


def of(deploy: DeploySection) -> str | None:
    """When the time to live is over, counted from now; None when it has none."""
    if deploy.ttl_hours is None:
        return None
    at = datetime.now(UTC) + timedelta(hours=deploy.ttl_hours)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
