"""Where this instance lives and the few delays that tests shorten."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from embedded_aws.processes.containers import Engine

ACCOUNT = "000000000000"
REGION = "us-east-1"
ACCESS_KEY = "test"
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SESSION_TOKEN": ""}
"""The environment of a container without a role: what it inherits from this process is not its own."""

MARKER_VARIABLE = "RLPIPE_EMBEDDED_AWS"
"""Every process that descends from an instance carries the instance's id in this environment variable."""


@dataclass(frozen=True)
class Settings:
    """What `python -m embedded_aws` was started with."""

    port: int
    state_dir: Path
    marker: str
    assembly: Path | None = None
    engine: "Engine | None" = None
    """What runs jobs and endpoints as containers; without it they are local processes."""
    kill_grace_seconds: float = 30.0
    """Seconds between SIGTERM and SIGKILL of a job, as in AWS Batch."""
    minimum_timeout_seconds: float = 60.0
    """The shortest job attempt timeout that is accepted, as in AWS Batch."""
    startup_seconds: float = 60.0
    """Seconds a serving container has to answer /ping, unless its endpoint configuration names another limit."""

    note_calls: bool = False
    """Whether what roles call is noted in `calls.jsonl` in the state folder."""
    functions_ahead: int = 0
    """How many processes wait for functions to be deployed."""
    keep: bool = False
    """Whether objects, runs and endpoints outlive this instance."""
    wait_scale: float = 0.05
    """What a state machine's waits and retry intervals are multiplied by: here an endpoint is up within a second."""

    bake_scale: float = 0.01
    """What the waits of an endpoint's deployment are multiplied by; its alarms see each request at once here."""

    @property
    def endpoint_url(self) -> str:
        """The one URL all services answer at."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def assemblies(self) -> list[Path]:
        """CDK output folders in which images are looked up, best first."""
        return [*([self.assembly] if self.assembly else []), self.state_dir / "cdk.out"]

    def client_environment(self) -> dict[str, str]:
        """Environment that points any AWS SDK at this instance and nowhere else."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": ACCESS_KEY,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }


def arn(service: str, resource: str) -> str:
    """The ARN of a resource of this instance's only account and region."""
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{resource}"


def assumed_role(role: str, session: str) -> str:
    """The ARN of who acts in the name of a role."""
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role.rpartition('/')[2]}/{session}"
