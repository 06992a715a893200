"""What is left over of runs and belongs to nobody any more: `orphans.json`, written by the sweeper."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Kind(StrEnum):
    """What may be left over."""

    JOB = "job"
    """A Batch job whose run is over: its instance is paid for, and what it writes nobody reads."""
    EXECUTION = "execution"
    """An execution that waits for a job which is gone: its run never ends."""
    RECORD = "record"
    """A run whose execution is over and whose end nobody wrote down."""
    ENDPOINT = "endpoint"
    """An endpoint that is no champion's and that no run is deploying: it is paid for, and nobody asks it."""
    SERVICE = "service"
    """The same on ECS."""


class Orphan(BaseModel):
    """One thing that is left over."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    kind: Kind
    name: str = Field(description="A job's id, a run's id, or the name of an endpoint or a service.")
    run_id: str
    why: str = Field(description="Why it is taken for left over; one sentence.")
    fix: str = Field(description="The command that ends it.")

    @property
    def key(self) -> tuple[Kind, str]:
        """What tells it from every other."""
        return self.kind, self.name


class Sweep(BaseModel):
    """`orphans.json`."""

    at: str = Field(description="ISO 8601, UTC.")
    ended: bool = Field(description="Whether the sweeper ended them, as `sweeper.mode` says.")
    orphans: list[Orphan]
