"""Who hosts endpoints."""

from lambdas.endpoints import hosting, services
from lambdas.endpoints.endpoint import Host


def host_of(target: str) -> Host:
    """Who hosts the endpoints of a `deploy.target`."""
    return services if target == "ecs" else hosting
