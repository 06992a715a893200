"""All that happens to endpoints: the steps of a deployment, for the state machine."""

from typing import Any

from lambdas.endpoints import deployment


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take one step of a deployment."""
    return deployment.take(event)
