"""Figures of prepared rows, gathered as they pass by."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import polars as pl
from gymnasium import spaces

from contract.dataset import MAX_COLUMNS_DESCRIBED, ActionUse, Column
from training_image.dataset.fields import Field

BINS = 20
MAX_LABELS = 50


class ColumnFigures:
    """Mean, deviation and range of each column of numbers, merged from frame to frame (Chan et al., 1979)."""

    def __init__(self, fields: Sequence[Field]) -> None:
        numbers = [field.name for field in fields if field.kind in ("number", "integer") and not field.nullable]
        self._names = [name for name in numbers if name != "step"][:MAX_COLUMNS_DESCRIBED]
        self._count = 0
        self._mean = np.zeros(len(self._names))
        self._squares = np.zeros(len(self._names))
        self._low = np.full(len(self._names), np.inf)
        self._high = np.full(len(self._names), -np.inf)

    def add(self, frame: pl.DataFrame) -> None:
        """Take rows that are good."""
        if not self._names or frame.is_empty():
            return
        columns = [frame[name] for name in self._names]
        figures = [(column.mean(), _variance(column), column.min(), column.max()) for column in columns]
        mean, variance, low, high = np.array(figures, dtype=np.float64).T
        count, total = len(frame), self._count + len(frame)
        delta = mean - self._mean
        self._squares += variance * count + delta**2 * (self._count * count / total)
        self._mean += delta * (count / total)
        self._count = total
        self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)

    def columns(self) -> list[Column]:
        """The figures so far."""
        if not self._count:
            return []
        deviation = np.sqrt(self._squares / self._count)
        rows = zip(self._names, self._mean, deviation, self._low, self._high, strict=True)
        return [
            Column(name=name, mean=float(mean), std=float(std), min=float(low), max=float(high))
            for name, mean, std, low, high in rows
        ]


def _variance(column: pl.Series) -> float:
    """Of float32 rounded to float32, but where that is too small for it."""
    variance: Any = column.var(ddof=0)
    return float(variance if math.isfinite(variance) else column.cast(pl.Float64).var(ddof=0))  # type: ignore[arg-type]


class ActionFigures:
    """How often each action, or each part of its range, occurs."""

    def __init__(self, fields: Sequence[Field], action_space: gymnasium.Space[Any]) -> None:
        self._fields = [one for one in fields if one.root == "action"]
        self._is_box = isinstance(action_space, spaces.Box)
        self._counts: dict[str, npt.NDArray[np.int64]] = {}

    def add(self, frame: pl.DataFrame) -> None:
        """Take rows that are good."""
        for one in self._fields:
            edges = self._edges(one)
            if edges is not None:
                counts = np.histogram(frame[one.name].to_numpy(), bins=edges)[0]
                self._counts[one.name] = self._counts.get(one.name, np.zeros(len(counts), np.int64)) + counts

    def use(self) -> list[ActionUse]:
        """The figures so far; none of actions without bounds."""
        return [
            ActionUse(
                name=one.name,
                labels=self._labels(one),
                rows=counts.tolist(),
                covered=float((counts > 0).mean()),
            )
            for one in self._fields
            if (counts := self._counts.get(one.name)) is not None
        ]

    def _edges(self, one: Field) -> npt.NDArray[np.float64] | None:
        if one.low is None or one.high is None:
            return None
        if self._is_box and one.kind == "number":
            # Bounds of a float32 space are rounded; what lies on them must not fall outside.
            return np.linspace(np.nextafter(one.low, -np.inf), np.nextafter(one.high, np.inf), BINS + 1)
        choices = int(one.high - one.low) + 1
        return np.linspace(one.low - 0.5, one.high + 0.5, min(choices, MAX_LABELS) + 1)

    def _labels(self, one: Field) -> list[str]:
        edges = self._edges(one)
        assert edges is not None
        assert one.low is not None
        if not self._is_box and len(edges) - 1 == int((one.high or 0) - one.low) + 1:
            return [str(int(one.low) + number) for number in range(len(edges) - 1)]
        return [f"{low:.3g} to {high:.3g}" for low, high in itertools.pairwise(edges)]


@dataclass
class EpisodeFigures:
    """Number and returns of logged episodes, which may go on from frame to frame."""

    episodes: int = 0
    rows: int = 0
    low: float = np.inf
    high: float = -np.inf
    _sum: float = 0.0
    _open: float | None = None

    def add(self, returns: npt.NDArray[np.float64], begins: npt.NDArray[np.bool_], rows: int) -> None:
        """Take the rewards of episodes, or of what `rows` have of them, and which of them begin here.

        Only the first may have begun before, and only the last may go on.
        """
        self.rows += rows
        for first in returns[: int(not begins[0])]:
            self._open = (self._open or 0.0) + float(first)
        whole = returns[int(not begins[0]) :]
        if len(whole):
            self._close()
            self._take(whole[:-1])
            self._open = float(whole[-1])

    def finish(self) -> None:
        """No more will come."""
        self._close()

    @property
    def mean(self) -> float | None:
        """The mean return; None of nothing."""
        return self._sum / self.episodes if self.episodes else None

    def _close(self) -> None:
        if self._open is not None:
            self._take(np.array([self._open]))
            self._open = None

    def _take(self, returns: npt.NDArray[np.float64]) -> None:
        if len(returns):
            self.episodes += len(returns)
            self._sum += float(returns.sum())
            self.low, self.high = min(self.low, float(returns.min())), max(self.high, float(returns.max()))


@dataclass
class Range:
    """The least and the greatest of values."""

    low: Any = None
    high: Any = None

    def add(self, values: pl.Series) -> None:
        """Take values, at least one."""
        low, high = values.min(), values.max()
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)


@dataclass
class Sample:
    """At most `most` rows, evenly spread: when there are too many, every second is dropped."""

    most: int = 20_000
    _frames: list[pl.DataFrame] = field(default_factory=list)
    _stride: int = 1
    _offset: int = 0
    _rows: int = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Take rows that are good."""
        while len(frame) > self.most * self._stride:  # rather than to take them all and drop most again
            self._halve()
        chosen = frame[np.arange(min(self._offset, len(frame)), len(frame), self._stride)]
        self._offset = (self._offset - len(frame)) % self._stride
        self._frames.append(chosen)
        self._rows += len(chosen)
        while self._rows > self.most:
            self._halve()

    def _halve(self) -> None:
        self._stride *= 2
        if self._frames:
            kept = pl.concat(self._frames).gather_every(2)
            self._frames, self._rows = [kept], len(kept)

    def frame(self) -> pl.DataFrame:
        """The sample."""
        return pl.concat(self._frames) if self._frames else pl.DataFrame()
