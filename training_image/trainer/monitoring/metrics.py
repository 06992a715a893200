"""How training goes: progress for whoever watches, and metrics.jsonl for the report.

A line has `timesteps`, `seconds` of training, `mean_return`, `median_return`, `min_return`, `max_return` and
`mean_length` of the last 100 finished episodes, and what the algorithm measured in the update, by the names of
Stable-Baselines3 (`value_loss`, `approx_kl`, `explained_variance`, `learning_rate` and so on), `entropy` among it.

A line of metrics.jsonl belongs to one update, or to the last of several small ones. When there are too many lines
every second one is dropped, and from then on half as many are taken, so the file stays small however long the run.
"""

import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback

from contract.events import Progress
from training_image.trainer.monitoring.telemetry import Telemetry

MAX_LINES = 2000
MIN_STEPS_PER_LINE = 400
"""Some algorithms update with every step: too little happens in one to be told."""

PROGRESS_SECONDS = 0.5
"""The least time between two progress events."""

_ALSO = ("rollout/exploration_rate",)
"""What belongs to the policy though Stable-Baselines3 files it under the rollout."""


def steps_per_line(steps_per_update: int) -> int:
    """Steps that a line of metrics.jsonl tells of: whole updates."""
    return math.ceil(MIN_STEPS_PER_LINE / steps_per_update) * steps_per_update


class MetricsLog:
    """The lines of metrics.jsonl. Which updates have one depends on their steps only, so resuming changes nothing."""

    def __init__(self, *, steps_per_line: int, document: bytes | None = None, up_to: int = 0) -> None:
        """Continue `document`, the file of an earlier attempt, as far as the step that training resumes at."""
        lines = [json.loads(line) for line in (document or b"").splitlines()]
        self.steps_per_line = steps_per_line
        self._lines: list[dict[str, Any]] = [line for line in lines if line["timesteps"] <= up_to]
        # Of every n-th update the first that has a line is the n-th; a training may also have ended before the first.
        self._every = max(1, self._lines[0]["timesteps"] // steps_per_line) if self._lines else 1

    def wants(self, timesteps: int) -> bool:
        """Whether the update that ends there has a line."""
        return timesteps // self.steps_per_line % self._every == 0

    def add(self, line: dict[str, Any]) -> None:
        """Take the line of an update, or pass it over."""
        if not self.wants(line["timesteps"]):
            return
        self._lines.append(line)
        if len(self._lines) > MAX_LINES:
            self._every *= 2
            self._lines = [line for line in self._lines if self.wants(line["timesteps"])]

    @property
    def lines(self) -> Sequence[Mapping[str, Any]]:
        """The lines so far."""
        return self._lines

    def encode(self) -> bytes:
        """The file's content."""
        return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in self._lines)


class Metrics(BaseCallback):
    """Fills a `MetricsLog`, tells `progress` twice a second how training goes, and `telemetry` when that is due."""

    def __init__(
        self,
        log: MetricsLog,
        *,
        seed: int,
        total: int,
        seconds: Callable[[], float],
        progress: Callable[[Progress], None],
        telemetry: Telemetry,
    ) -> None:
        """`seconds` gives the seconds of training so far, over all attempts."""
        super().__init__()
        self._telemetry = telemetry
        self._log = log
        self._seed = seed
        self._total = total
        self._seconds = seconds
        self._progress = progress
        self._begun: float | None = None
        self._begun_at = self._told_at = 0
        self._told = 0.0

    def _on_step(self) -> bool:
        now = time.monotonic()
        if now - self._told >= PROGRESS_SECONDS:
            self._told = now
            self._progress(self.snapshot())
            if self._telemetry.is_due:
                self._telemetry.tell(self._line(), self._returns())
        return True

    def _on_rollout_start(self) -> None:
        if self._begun is None:  # only now is a resumed model where it was
            self._begun = self._told = time.monotonic()
            self._begun_at = self._told_at = self.model.num_timesteps
            self._telemetry.begin(self._begun_at)
        self._take()

    def _on_training_end(self) -> None:
        self._take(last=True)
        self._progress(self.snapshot())
        self._telemetry.tell(self._line(), self._returns())

    def snapshot(self) -> Progress:
        """Where training stands."""
        done = self.model.num_timesteps
        rate = self.steps_per_second
        progress = Progress(
            event="progress",
            seed=self._seed,
            timesteps=done,
            total_timesteps=self._total,
            steps_per_second=round(rate, 1),
            seconds_left=round(max(self._total - done, 0) / rate, 1) if rate else 0.0,
        )
        episodes = self.episodes()
        if episodes:
            progress["mean_return"], progress["mean_length"] = episodes["mean_return"], episodes["mean_length"]
        if losses := self.losses():
            progress["losses"] = losses
        return progress

    @property
    def steps_per_second(self) -> float:
        """Mean speed of this attempt."""
        if self._begun is None:
            return 0.0
        return (self.model.num_timesteps - self._begun_at) / max(time.monotonic() - self._begun, 1e-9)

    def _take(self, *, last: bool = False) -> None:
        done, each = self.model.num_timesteps, self._log.steps_per_line
        if self._begun is None or (done // each == self._told_at // each and not last) or done == self._told_at:
            return
        self._told_at = done
        if self._log.wants(done):
            line = self._line()
            self._log.add(line)
            self._telemetry.note(line)

    def _line(self) -> dict[str, Any]:
        steps = {"timesteps": self.model.num_timesteps, "seconds": round(self._seconds(), 3)}
        return steps | self.episodes() | self.losses()

    def _returns(self) -> list[float]:
        """Of the last 100 finished episodes, from the least to the best."""
        return sorted(float(episode["r"]) for episode in self.model.ep_info_buffer or ())

    def episodes(self) -> dict[str, float]:
        """Returns and mean length of the last 100 finished episodes."""
        returns = self._returns()
        mean_return = math.fsum(returns) / len(returns) if returns else math.nan
        if not math.isfinite(mean_return):  # there are none, or the environment's rewards are no numbers
            return {}
        middle = len(returns) // 2
        return {
            "mean_return": round(mean_return, 4),
            "median_return": round((returns[middle] + returns[-1 - middle]) / 2, 4),
            "min_return": round(returns[0], 4),
            "max_return": round(returns[-1], 4),
            "mean_length": round(sum(episode["l"] for episode in self.model.ep_info_buffer or ()) / len(returns), 2),
        }

    def losses(self) -> dict[str, float]:
        """What the algorithm measured in its last update, as far as it is a number."""
        measured = {
            name.partition("/")[2]: float(f"{value:.6g}")
            for name, value in self.model.logger.name_to_value.items()
            if (name.startswith("train/") or name in _ALSO) and math.isfinite(value)
        }
        if "entropy_loss" in measured:
            measured["entropy"] = 0.0 - measured["entropy_loss"]
        return measured
