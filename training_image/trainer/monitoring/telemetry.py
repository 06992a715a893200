"""What CloudWatch keeps of a training: one line a minute, in the embedded metric format, and one at the end.

However short the steps and however many updates, a training has a handful of metrics and a value of each a minute.
"""

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from contract import metrics as names
from contract.events import Measured
from contract.layout import experiment_of_run
from contract.metrics import Metric
from training_image.trainer.monitoring.gpu import find_gpus
from training_image.trainer.monitoring.health import Health
from training_image.trainer.plan import Plan
from training_image.trainer.recovery.stopping import Limits

Values = dict[Metric, float | Sequence[float]]


class Telemetry:
    """Tells `report` how a training is, as often as the environment asks for; without a stage never."""

    def __init__(
        self,
        plan: Plan,
        report: Callable[[Measured], None],
        limits: Limits,
        *,
        lines: Sequence[Mapping[str, Any]],
        evaluation: Callable[[], float | None],
    ) -> None:
        """`lines` are those of metrics.jsonl of earlier attempts; `evaluation` gives the newest mean return of one."""
        self._report = report
        self._limits = limits
        self._evaluation = evaluation
        self._seed = plan.seed
        self._total = plan.specification.timesteps
        self._checkpoint_seconds = plan.specification.checkpoint.every_seconds
        self._stage = os.environ.get(names.STAGE_VARIABLE)
        self._every = float(os.environ.get(names.SECONDS_VARIABLE) or 60)
        self._dimensions = {
            names.STAGE: self._stage or "",
            names.EXPERIMENT: experiment_of_run(plan.run_id),
            names.RUN: plan.run_id,
        }
        self._health = Health(plan, lines)
        self._gpus = find_gpus() if self._stage else None
        self._told_at = self._stored_at = self._silent_at = time.monotonic()
        self._told_steps: int | None = None

    @property
    def is_due(self) -> bool:
        """Whether it is time for a line."""
        return self._stage is not None and time.monotonic() - self._told_at >= self._every

    def begin(self, timesteps: int) -> None:
        """The first step is about to be taken."""
        self._told_at = self._stored_at = time.monotonic()
        self._told_steps = timesteps

    def stored(self) -> None:
        """A checkpoint is complete."""
        self._stored_at = time.monotonic()

    def note(self, line: Mapping[str, Any]) -> None:
        """Remember how training stands, as metrics.jsonl has it: what is told later is compared with it."""
        self._health.remember(line)

    def tell(self, line: Mapping[str, Any], returns: Sequence[float]) -> None:
        """Print a line.

        :param line: how training stands, as metrics.jsonl has it.
        :param returns: of the episodes that it tells of.
        """
        if self._stage is None:
            return
        now = time.monotonic()
        values: Values = {
            names.PROGRESS: min(100.0, 100 * line["timesteps"] / self._total),
            names.TRAINING_SECONDS: self._limits.seconds,
            names.CHECKPOINT_AGE: now - self._stored_at,
            names.COST: self._limits.cost,
        }
        if self._told_steps is not None and now > self._told_at:
            values[names.STEPS_PER_SECOND] = (line["timesteps"] - self._told_steps) / (now - self._told_at)
        self._told_at, self._told_steps = now, line["timesteps"]
        if "mean_return" in line:
            values |= {names.EPISODE_RETURN: returns, names.EPISODE_RETURN_MEDIAN: line["median_return"]}
            values[names.EPISODE_LENGTH] = line["mean_length"]
        if (evaluation := self._evaluation()) is not None:
            values[names.EVALUATION_RETURN] = evaluation
        values |= {metric: line[name] for name, metric in names.MEASURED.items() if name in line}
        values |= self._health.look(line, deviation=statistics.pstdev(returns) if returns else 0.0)
        values |= self._limited(now)
        if self._gpus is not None:
            values |= self._gpus.look()
        self._print(values, timesteps=line["timesteps"], measured=dict(line))

    def silence(self, seconds: float, timesteps: int) -> None:
        """There was no step for so long; told as often as all else, from the first minute on."""
        if self._stage is not None and min(seconds, time.monotonic() - self._silent_at) >= self._every:
            self._silent_at = time.monotonic()
            self.trouble(names.WITHOUT_STEP, seconds, timesteps, f"no step for {seconds:.0f} seconds")

    def trouble(self, metric: Metric, value: float, timesteps: int, reason: str) -> None:
        """Print one metric that says that something is wrong, and why in words."""
        self._print({metric: value}, timesteps=timesteps, reason=reason)

    def _limited(self, now: float) -> Values:
        values: Values = {}
        if self._limits.cost_share is not None:
            values[names.BUDGET_USED] = 100 * self._limits.cost_share
        if self._checkpoint_seconds is not None and now - self._stored_at > self._checkpoint_seconds:
            values[names.CHECKPOINT_OVERDUE] = now - self._stored_at - self._checkpoint_seconds
        return values

    def _print(self, values: Values, **properties: Any) -> None:
        if self._stage is None:
            return
        self._report(names.measured(values, self._dimensions, seed=self._seed, **properties))
