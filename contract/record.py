"""The record of a run: one item of the run table, which everything that asks about runs reads.

The prepare function begins it, the state machine and the finish function move it on, the control function writes
wishes and what the jobs tell of themselves. `history` has every one of those changes, in their order.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from contract.control import Command, Phase, State, possible, state_of

KIND = "run"
"""Value of the attribute by which the index `NEWEST_FIRST` lists all runs."""

NEWEST_FIRST = "newest-first"
"""Index of the table: partition key `kind`, sort key `submitted_at`."""

LISTED = (
    *("experiment", "state", "wish", "updated_at", "ended_at", "reason", "endpoint", "seeds", "total_timesteps"),
    *("price_per_hour", "endpoint_monthly_usd", "jobs", "progress", "version", "artifacts"),
)
"""Attributes that the index has beside its keys: everything but the history and the token."""

MAX_REASON = 300
"""Characters of a reason that are kept: an item has room for 400 KB, and the history is part of it."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class Change(_Model):
    """One entry of the history: what happened to the run, when, and by whom."""

    at: str = Field(description="ISO 8601, UTC.")
    by: str = Field(description="`pipeline`, or who gave the command.")
    state: str | None = Field(default=None, description="The state that was entered.")
    wish: Command | None = Field(default=None, description="The command that was accepted.")
    reason: str | None = None


class JobRecord(_Model):
    """The newest Batch job of one part of a run, as its events tell."""

    job_id: str
    status: str = Field(description="RUNNABLE, STARTING, RUNNING, SUCCEEDED or FAILED.")
    since: str = Field(description="When it entered this status.")
    started_at: int | None = Field(default=None, description="Milliseconds since 1970, once it runs.")
    log_stream: str | None = None


class SeedProgress(_Model):
    """How far the training of one seed is."""

    timesteps: int = 0
    mean_return: float | None = Field(default=None, description="Over the last 100 finished episodes.")
    seconds: float = Field(default=0, description="Seconds of training over all attempts.")
    attempts: int = 1


class RunRecord(_Model):
    """One run."""

    run_id: str
    experiment: str
    state: str = Field(description="The phase, or the outcome once it is over.")
    wish: Command | None = Field(default=None, description="A command that is being carried out.")
    possible: list[Command] = Field(default=[], description="The commands that would change something now.")
    submitted_at: str = Field(description="ISO 8601, UTC.")
    updated_at: str
    ended_at: str | None = None
    reason: str | None = Field(default=None, description="Why it ended as it did.")
    endpoint: str | None = None
    seeds: list[int] = []
    total_timesteps: int = Field(default=0, description="Environment steps to train, of each seed.")
    attempts: int = Field(default=0, description="Attempts at training, of all seeds.")
    timesteps: int = Field(default=0, description="Environment steps trained, of all seeds.")
    mean_return: float | None = Field(default=None, description="The best seed's mean return in training.")
    cost_usd: float = Field(default=0, description="Training so far, at the price of the stage's settings.")
    price_per_hour: float = 0
    endpoint_monthly_usd: float = Field(
        default=0, description="What its endpoint will cost a month, estimated from the stage's settings."
    )
    version: int = Field(default=0, description="Counts the changes of the record.")
    jobs: dict[str, JobRecord] = {}
    progress: dict[str, SeedProgress] = {}
    history: list[Change] = []
    artifacts: str | None = Field(default=None, description="Where its files are.")

    @property
    def position(self) -> tuple[State, Command | None]:
        """State and wish, as the table of commands is asked."""
        return state_of(self.state), self.wish

    @property
    def is_over(self) -> bool:
        """Whether the run has its outcome."""
        return self.state not in Phase.__members__


def new_record(
    *,
    run_id: str,
    experiment: str,
    submitted_at: str,
    endpoint: str | None,
    seeds: list[int],
    total_timesteps: int,
    price_per_hour: float,
    artifacts: str,
    endpoint_monthly_usd: float = 0,
    phase: Phase = Phase.TRAINING,
) -> dict[str, Any]:
    """The record of a run that is about to train, or to prepare its data, as plain values."""
    return {
        "run_id": run_id,
        "kind": KIND,
        "experiment": experiment,
        "state": str(phase),
        "submitted_at": submitted_at,
        "updated_at": submitted_at,
        "endpoint": endpoint,
        "seeds": seeds,
        "total_timesteps": total_timesteps,
        "price_per_hour": price_per_hour,
        "artifacts": artifacts,
        "endpoint_monthly_usd": endpoint_monthly_usd,
        "jobs": {},
        "progress": {},
        "version": 1,
        "history": [{"at": submitted_at, "by": "pipeline", "state": str(phase)}],
    }


def read_record(item: dict[str, Any], *, now_ms: int, live: dict[str, SeedProgress] | None = None) -> RunRecord:
    """A record from an item's plain values, with what follows from them.

    :param now_ms: milliseconds since 1970, for the cost of jobs that run.
    :param live: by seed folder (`seed-0`), what the logs of running jobs say.
    """
    record = RunRecord.model_validate(item)
    progress = {**record.progress, **(live or {})}
    price = record.price_per_hour
    running = [
        (now_ms - job.started_at) / 1000
        for name, job in record.jobs.items()
        if name.startswith("seed-") and job.status == "RUNNING" and job.started_at is not None
    ]
    seconds = sum(seed.seconds for seed in record.progress.values()) + sum(running)
    returns = [seed.mean_return for seed in progress.values() if seed.mean_return is not None]
    return record.model_copy(
        update={
            "possible": possible(*record.position),
            "progress": progress,
            "attempts": sum(seed.attempts for seed in progress.values()),
            "timesteps": sum(seed.timesteps for seed in progress.values()),
            "mean_return": max(returns, default=None),
            "cost_usd": round(seconds / 3600 * price, 6),
        }
    )


class Refusal(_Model):
    """The answer to a command that makes no sense now."""

    error: Literal["conflict"] = "conflict"
    message: str
    state: str
    wish: Command | None = None
    possible: list[Command] = []
