"""What the containers print on stdout: one JSON document a line, each with an `event` name.

CloudWatch Logs keeps them; `rlpipe watch` reads them back. A line that is not such a document is plain log text.
"""

import json
from typing import Literal, NotRequired, TypedDict


class Started(TypedDict):
    """A container begins its work, on this attempt, at this step (above 0 when it resumes)."""

    event: Literal["started"]
    seed: int
    timesteps: int
    total_timesteps: int


class Progress(TypedDict):
    """Training goes on. `mean_return` is over the last 100 finished episodes, absent before the first."""

    event: Literal["progress"]
    seed: int
    timesteps: int
    total_timesteps: int
    steps_per_second: float
    seconds_left: float
    mean_return: NotRequired[float]
    mean_length: NotRequired[float]
    losses: NotRequired[dict[str, float]]


class Checkpointed(TypedDict):
    """A checkpoint is complete and may be resumed from."""

    event: Literal["checkpoint"]
    seed: int
    timesteps: int


class Validated(TypedDict):
    """Validation has a verdict."""

    event: Literal["validated"]
    passed: bool
    mean_return: float
    lower_bound: float
    reason: str


class Measured(TypedDict):
    """What CloudWatch makes metrics of; its other members are those of `contract.metrics.measured`."""

    event: Literal["metrics"]
    seed: NotRequired[int]


class Ended(TypedDict):
    """A container ends its work: why, in words, and with which exit code of `contract.outcomes.ExitCode`."""

    event: Literal["ended"]
    exit_code: int
    reason: str


Event = Started | Progress | Checkpointed | Measured | Validated | Ended


def encode(event: Event) -> str:
    """One line of a container's output."""
    return json.dumps(event, separators=(",", ":"))


def decode(line: str) -> Event | None:
    """The event on a line of a container's output, or None when the line is plain text."""
    if not line.startswith('{"event":'):
        return None
    try:
        document: Event = json.loads(line)
    except ValueError:
        return None
    return document
