"""Is the training well? What only the trainer can judge, since it knows what was learnt and what is asked for."""

from collections.abc import Iterable, Mapping
from typing import Any

from contract.metrics import ENTROPY_COLLAPSE, RETURN_DROP, Metric
from training_image.trainer.plan import Plan

LEAST_ENTROPY = 0.05
"""Of the exploration that a policy began with; with less it hardly tries anything else."""


class Health:
    """Remembers how well a training did, over all attempts."""

    def __init__(self, plan: Plan, lines: Iterable[Mapping[str, Any]]) -> None:
        """`lines` are those of metrics.jsonl of earlier attempts."""
        self._wanted = plan.specification.validation.min_return
        self._total = plan.specification.timesteps
        self._best, self._worst = float("-inf"), float("inf")
        self._explored_first: float | None = None
        for line in lines:
            self.remember(line)

    def remember(self, line: Mapping[str, Any]) -> None:
        """Take a line as what later ones are compared with."""
        if "mean_return" in line:
            self._best = max(self._best, line["mean_return"])
            self._worst = min(self._worst, line["mean_return"])
        if self._explored_first is None:
            self._explored_first = _exploration(line)

    def look(self, line: Mapping[str, Any], *, deviation: float) -> dict[Metric, float]:
        """What there is to say of a line as metrics.jsonl has it.

        :param deviation: standard deviation of the returns that its mean is of.
        """
        self.remember(line)
        found: dict[Metric, float] = {}
        if "mean_return" in line:
            learnt = self._best - self._worst
            # As long as less was learnt than episodes differ from each other, a fall means nothing.
            drop = (self._best - line["mean_return"]) / learnt if learnt > deviation else 0.0
            found[RETURN_DROP] = round(drop, 4)
        if self._has_collapsed(line):
            found[ENTROPY_COLLAPSE] = 1
        return found

    def _has_collapsed(self, line: Mapping[str, Any]) -> bool:
        """A policy that has solved its task, or is about to be finished, may well be sure of itself."""
        now = _exploration(line)
        if now is None or not self._explored_first or now >= LEAST_ENTROPY * self._explored_first:
            return False
        if self._wanted is not None:
            return bool(line.get("mean_return", float("-inf")) < self._wanted)
        return bool(line["timesteps"] < self._total / 2)


def _exploration(line: Mapping[str, Any]) -> float | None:
    """How much a policy varies its actions: the deviation where they are continuous, else the entropy.

    The entropy of a continuous distribution is below 0 when it is narrow, so it has no share of its beginning.
    """
    value: float | None = line.get("std", line.get("entropy"))
    return value
