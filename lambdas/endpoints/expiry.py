"""How long an endpoint stays on."""

from datetime import UTC, datetime, timedelta

from contract.run import DeploySection
from lambdas import moments


def of(deploy: DeploySection) -> str | None:
    """When the time to live is over, counted from now; None when it has none."""
    if deploy.ttl_hours is None:
        return None
    return moments.written(datetime.now(UTC) + timedelta(hours=deploy.ttl_hours))
