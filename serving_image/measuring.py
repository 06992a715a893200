"""What a container counts, and the log lines that CloudWatch makes metrics of."""

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.metrics import (
    ENDPOINT,
    INPUT_DRIFT,
    MAX_VALUES,
    OBSERVATIONS_MEASURED,
    REQUEST_LATENCY,
    REQUESTS,
    REQUESTS_FAILED,
    REQUESTS_REFUSED,
    STAGE,
    Metric,
    measured,
)
from contract.policy import MOST_ELEMENTS, Statistics
from serving_image.policy import ServedPolicy

MOST_OBSERVATIONS = 2000
"""Observations of one policy that are kept between two lines, evenly spread."""

FEWEST_OBSERVATIONS = 200
"""With fewer, a drift would be mostly chance."""

_SHARE_OF_NONE = 1e-3
"""What a share of 0 is taken for, as is usual: its logarithm would be infinite."""


class Measuring:
    """Counts requests and looks at observations; `line` says what there was since the line before.

    :param dimensions: of the metrics; without an endpoint's name among them nothing becomes a metric, and the lines are
        for whoever reads the log.
    """

    def __init__(self, dimensions: Mapping[str, str]) -> None:
        self._dimensions = dimensions if STAGE in dimensions and ENDPOINT in dimensions else {}
        self._random = random.Random(0)  # noqa: S311 - chooses which latencies are told
        self._samples: dict[ServedPolicy, Sample] = {}
        self._begin()

    def _begin(self) -> None:
        self._statuses: Counter[int] = Counter()
        self._measured = 0
        self._latencies: list[float] = []
        self._slowest = 0.0

    def answered(self, status: int, seconds: float | None) -> None:
        """A request was answered; `seconds` after it was whole, where it asked for actions and got them."""
        self._statuses[status] += 1
        if seconds is None:
            return
        self._measured += 1
        self._slowest = max(self._slowest, seconds)
        if len(self._latencies) < MAX_VALUES:
            self._latencies.append(seconds)
        elif (place := int(self._random.random() * self._measured)) < MAX_VALUES:  # each is kept equally likely
            self._latencies[place] = seconds

    def saw(self, policy: ServedPolicy, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Observations were answered."""
        sample = self._samples.get(policy)
        if sample is None:
            statistics = policy.document.get("statistics")
            if not statistics:
                return
            sample = self._samples[policy] = Sample(statistics)
        sample.add(inputs)

    def forget(self, policy: ServedPolicy) -> None:
        """A policy is not served any more."""
        self._samples.pop(policy, None)

    def line(self) -> dict[str, Any] | None:
        """A line of the log about the time since the last one; None when there was nothing."""
        if not self._statuses:
            return None
        statuses, latencies = self._statuses, self._latencies
        count = statuses.total()
        values: dict[Metric, float | list[float]] = {
            REQUESTS: count,
            REQUESTS_REFUSED: sum(number for status, number in statuses.items() if 400 <= status < 500),
            REQUESTS_FAILED: sum(number for status, number in statuses.items() if status >= 500),
        }
        if latencies:
            latencies[latencies.index(min(latencies))] = self._slowest  # the slowest is always told
            values[REQUEST_LATENCY] = [1000 * seconds for seconds in latencies]
        said: dict[str, Any] = {"statuses": {str(status): number for status, number in sorted(statuses.items())}}
        drifts = {
            policy.run_id: found for policy, sample in self._samples.items() if (found := sample.drift()) is not None
        }
        if drifts:
            worst = max(drifts.values(), key=lambda found: found.index)
            values[INPUT_DRIFT] = worst.index
            values[OBSERVATIONS_MEASURED] = sum(found.observations for found in drifts.values())
            said["drifts"] = {run_id: vars(found) for run_id, found in drifts.items()}
        for sample in self._samples.values():
            sample.clear()
        self._begin()
        if self._dimensions:
            return {**measured(values, self._dimensions, **said)}
        return {**{metric.name: value for metric, value in values.items()}, **said}


class Drift:
    """How far one policy's observations are from those of validation.

    :param index: the population stability index of the element that differs most; above 0.25 is commonly a shift.
    :param element: which one that is, such as `observation[2]`.
    """

    def __init__(self, index: float, element: str, observations: int) -> None:
        self.index, self.element, self.observations = round(index, 4), element, observations


class Sample:
    """Some of the observations that a policy answers: when there are too many, every second is let go and from then on
    half as many are taken."""

    def __init__(self, statistics: Mapping[str, Statistics]) -> None:
        self._statistics = statistics
        self.clear()

    def clear(self) -> None:
        self._kept: list[Mapping[str, NDArray[Any]]] = []
        self._count = 0
        self._stride = 1
        self._until_next = 0

    def add(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        """Take observations, `[batch, *shape]` of each input, or some of them."""
        count = len(next(iter(inputs.values())))
        if self._until_next >= count:
            self._until_next -= count
            return
        taken = slice(self._until_next, None, self._stride)
        self._until_next = (self._until_next - count) % self._stride
        kept = {name: elements(array[taken]) for name, array in inputs.items()}
        self._kept.append(kept)
        self._count += len(next(iter(kept.values())))
        if self._count > MOST_OBSERVATIONS:
            self._kept = [{name: array[::2] for name, array in self._together().items()}]
            self._count = len(next(iter(self._kept[0].values())))
            self._stride *= 2

    def _together(self) -> dict[str, NDArray[Any]]:
        return {name: np.concatenate([kept[name] for kept in self._kept]) for name in self._statistics}

    def drift(self) -> Drift | None:
        """The drift of what was taken; None when that is too little to tell."""
        if not self._kept:
            return None
        worst = Drift(-1.0, "", 0)
        for name, array in self._together().items():
            if len(array) < FEWEST_OBSERVATIONS:
                return None
            statistics = self._statistics[name]
            for number, (edges, expected) in enumerate(zip(statistics["edges"], statistics["shares"], strict=True)):
                index = stability_index(array[:, number], edges, expected)
                if index > worst.index:
                    worst = Drift(index, f"{name}[{number}]", len(array))
        return worst


def elements(array: NDArray[Any]) -> NDArray[Any]:
    """The elements that statistics are about, `[batch, n]`."""
    flat = array.reshape(len(array), -1)
    if flat.shape[1] <= MOST_ELEMENTS:
        return flat
    return flat[:, np.linspace(0, flat.shape[1] - 1, MOST_ELEMENTS).round().astype(int)]


def stability_index(values: NDArray[Any], edges: list[float], expected: list[float]) -> float:
    """The population stability index of values against the shares that are expected between edges."""
    counts = np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1)
    found = np.maximum(counts / len(values), _SHARE_OF_NONE)
    wanted = np.maximum(expected, _SHARE_OF_NONE)
    return float(((found - wanted) * np.log(found / wanted)).sum())
