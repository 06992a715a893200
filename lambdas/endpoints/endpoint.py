"""An endpoint, whoever hosts it."""

from dataclasses import dataclass
from typing import Any, Protocol

from contract.run import DeploySection

MISSING = "Missing"
"""The status of an endpoint that is not there."""


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An endpoint, with the statuses that SageMaker has for one."""

    name: str
    status: str
    config: str = ""
    """What serves: the run's name, which its configuration or task definition has."""
    failure: str = "no reason given"

    @property
    def is_changing(self) -> bool:
        """Whether it will be another one soon; meanwhile it takes no order."""
        return self.status in ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")


class Host(Protocol):
    """What endpoints are made by. To make what is there, or delete what is gone, is no error."""

    def describe(self, name: str) -> Endpoint:
        """An endpoint, also one that is not there."""

    def make_servable(
        self,
        run_id: str,
        *,
        endpoint: str,
        image: str,
        model_uri: str,
        deploy: DeploySection,
        capture: dict[str, Any] | None,
    ) -> None:
        """Make what an endpoint is told to serve of a run."""

    def create(self, name: str, config: str) -> None:
        """Create an endpoint."""

    def update(
        self, name: str, config: str, deploy: DeploySection | None = None, alarms: list[str] | None = None
    ) -> None:
        """Begin to move an endpoint to another configuration: at once, or as a run has asked for it."""

    def delete(self, name: str) -> None:
        """Delete an endpoint."""

    def delete_servable(self, run_id: str) -> bool:
        """Delete what an endpoint would serve of a run, unless one does; whether it is gone."""
