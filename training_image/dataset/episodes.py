"""What only a whole episode shows: steps that are missing, rows after its end, an end that is missing.

Rows come in the order of their steps, episode after episode, in frames of any length; a frame is held back until the
next one is known. Memory does not grow with an episode's length, and with their number by eight bytes each.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training_image.dataset.errors import NotInOrderError

KEY = "\0key"
ROW = "\0row"
FILE = "\0file"
INTERNAL = (KEY, ROW, FILE)

LATE = "its episode does not begin with step 0 or 1: the beginning is missing"
GAP = "a step before it is missing from its episode"
AFTER = "its episode had ended before"
BACKWARDS = "the time goes backwards in its episode"
_REASONS = {1: LATE, 2: GAP, 3: AFTER, 4: BACKWARDS}

NO_END = "episodes without an end were taken as truncated"
CUT = "episodes were cut before a row that could not be used"


@dataclass(frozen=True, kw_only=True)
class Runs:
    """Where the rows of a frame go on to another episode. A frame may begin and end within one."""

    starts: npt.NDArray[np.int64]
    """The first row of each run, 0 of the first."""
    keys: npt.NDArray[np.uint64]
    """Of which episode they are."""
    begins: npt.NDArray[np.bool_]
    """Whether the run's first row begins the episode."""
    rows: int

    def spread(self, values: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        """A value of each run as one of each row."""
        return np.repeat(values, np.diff(self.starts, append=self.rows))


Keep = Callable[[pl.DataFrame, Runs], None]
Reject = Callable[[pl.DataFrame, pl.Series], None]


@dataclass
class Episodes:
    """Takes rows in order, keeps the good ones and rejects the others.

    `keep` gets frames of good rows and their episodes; `reject` gets the others with their reasons. The frames still
    have the columns `INTERNAL`. With `anywhere`, an episode may begin at any step: what is split by time is cut.
    """

    keep: Keep
    reject: Reject
    anywhere: bool = False
    repairs: dict[str, int] = field(default_factory=dict)
    _held: pl.DataFrame | None = None
    _key: int | None = None
    _step: int = 0
    _time: float = -np.inf
    _ended: bool = False
    _broken: int = 0
    _keys: list[npt.NDArray[np.uint64]] = field(default_factory=list)

    def add(self, frame: pl.DataFrame) -> None:
        """Take the next rows.

        Raises:
            NotInOrderError: the rows of an episode do not follow each other.
        """
        if frame.is_empty():
            return
        if self._held is not None:
            self._check(self._held, following=frame.row(0, named=True))
        self._held = frame

    def finish(self) -> None:
        """Take the rows that were held back; no more will come.

        Raises:
            NotInOrderError: an episode came again after another one.
        """
        if self._held is not None:
            self._check(self._held, following=None)
            self._held = None
        if _any_twice(np.concatenate([np.empty(0, np.uint64), *self._keys])):
            raise NotInOrderError

    def _check(self, rows: pl.DataFrame, *, following: Mapping[str, Any] | None) -> None:
        """Judge rows and hand them on. `following` is the row that comes after them."""
        keys, ends = rows[KEY], rows["terminated"] | rows["truncated"]
        changes = keys[1:] != keys[:-1]
        starts = np.concatenate([[0], changes.arg_true().to_numpy().astype(np.int64) + 1])
        begins = np.ones(len(starts), dtype=bool)
        begins[0] = self._key is None or keys[0] != self._key
        runs = Runs(starts=starts, keys=keys.gather(starts).to_numpy(), begins=begins, rows=len(rows))
        broken = None if self._is_whole(rows, ends, changes, runs) else self._faults(rows, ends.to_numpy(), runs)
        finals, cuts = starts[1:] - 1, _before_faults(broken, runs)
        if following is None or following[KEY] != keys[-1]:
            finals = np.append(finals, len(rows) - 1)
        elif not _follows(rows.row(-1, named=True), following):
            cuts = np.append(cuts, len(rows) - 1)
        self._hand_on(rows, runs, ends, finals, cuts, broken)
        self._remember(rows, runs, ends[-1], broken)

    def _is_whole(self, rows: pl.DataFrame, ends: pl.Series, changes: pl.Series, runs: Runs) -> bool:
        """Whether no row can be at fault, which is seen without looking at each one alone."""
        steps = rows["step"]
        if not runs.begins[0] and (self._broken or self._ended or steps[0] != self._step + 1):
            return False
        if not self.anywhere and (steps.gather(runs.starts[runs.begins]) > 1).any():
            return False
        follows = (steps[1:] - steps[:-1] == 1) & ~ends[:-1]
        if "time" in rows.columns:
            times = rows["time"].to_physical()
            follows &= times[1:] >= times[:-1]
            if not runs.begins[0] and times[0] < self._time:
                return False
        return (changes | follows).all()

    def _faults(self, rows: pl.DataFrame, ends: npt.NDArray[np.bool_], runs: Runs) -> npt.NDArray[np.int8] | None:
        """What is at fault in each row, 0 where nothing is; None when that is so everywhere."""
        steps = rows["step"].to_numpy()
        begins = np.zeros(len(rows), dtype=bool)
        begins[runs.starts] = runs.begins
        advance = np.diff(steps, prepend=self._step)
        if (advance[~begins] <= 0).any():
            raise NotInOrderError
        ended = np.concatenate([[self._ended], ends[:-1]])
        fault = np.zeros(len(rows), dtype=np.int8)
        if not self.anywhere:
            fault[begins & (steps > 1)] = 1
        if "time" in rows.columns:
            times = rows["time"].to_physical().to_numpy().astype(np.float64)
            fault[~begins & (np.diff(times, prepend=self._time) < 0)] = 4
        fault[~begins & (advance != 1)] = 2
        fault[~begins & ended] = 3
        if self._broken and not begins[0]:
            fault[0] = self._broken
        return _onwards(fault, runs.starts) if fault.any() else None

    def _remember(self, rows: pl.DataFrame, runs: Runs, ended: bool, broken: npt.NDArray[np.int8] | None) -> None:
        new = runs.keys[runs.begins]
        if not self._keys and _any_twice(new):
            raise NotInOrderError  # no need to read on to know it
        self._keys.append(new)
        self._key, self._step, self._ended = int(runs.keys[-1]), int(rows["step"][-1]), ended
        self._time = float(rows["time"].to_physical()[-1]) if "time" in rows.columns else -np.inf
        self._broken = 0 if broken is None else int(broken[-1])

    def _hand_on(
        self,
        rows: pl.DataFrame,
        runs: Runs,
        ends: pl.Series,
        finals: npt.NDArray[np.int64],
        cuts: npt.NDArray[np.int64],
        broken: npt.NDArray[np.int8] | None,
    ) -> None:
        """Give away good and bad rows. `finals` are the last ones of their episodes, `cuts` come before a fault."""
        mended = np.zeros(len(rows), dtype=bool)
        for last, repair in ((finals, NO_END), (cuts, CUT)):
            last = last[~ends.gather(last).to_numpy()]
            last = last if broken is None else last[broken[last] == 0]
            mended[last] = True
            if len(last):
                self.repairs[repair] = self.repairs.get(repair, 0) + len(last)
        if mended.any():
            rows = rows.with_columns(pl.col("truncated") | pl.Series(mended))
        if broken is not None:
            bad = broken != 0
            codes = pl.Series(broken[bad]).cast(pl.Int64)
            self.reject(rows.filter(pl.Series(bad)), codes.replace_strict(_REASONS, return_dtype=pl.String))
            rows, runs = rows.filter(pl.Series(~bad)), _without(runs, bad)
        if len(rows):
            self.keep(rows, runs)


def _any_twice(keys: npt.NDArray[np.uint64]) -> bool:
    ordered = np.sort(keys)
    return bool((ordered[1:] == ordered[:-1]).any())


def _before_faults(broken: npt.NDArray[np.int8] | None, runs: Runs) -> npt.NDArray[np.int64]:
    """The rows after which their episode goes on with one that is at fault."""
    if broken is None:
        return np.empty(0, np.int64)
    faulty = broken[1:] != 0
    faulty[runs.starts[1:] - 1] = False
    return np.flatnonzero(faulty)


def _follows(row: Mapping[str, Any], following: Mapping[str, Any]) -> bool:
    """Whether a row of the same episode may come after another."""
    return following["step"] == row["step"] + 1 and ("time" not in row or following["time"] >= row["time"])


def _without(runs: Runs, bad: npt.NDArray[np.bool_]) -> Runs:
    """The runs of what is left without some rows, which are the last ones of their runs."""
    lengths = np.diff(runs.starts, append=runs.rows) - np.add.reduceat(bad, runs.starts, dtype=np.int64)
    left = lengths > 0
    starts = np.concatenate([[0], np.cumsum(lengths[left])])
    return Runs(starts=starts[:-1], keys=runs.keys[left], begins=runs.begins[left], rows=int(starts[-1]))


def _onwards(fault: npt.NDArray[np.int8], starts: npt.NDArray[np.int64]) -> npt.NDArray[np.int8]:
    """From the first fault of an episode on, that fault in all its rows."""
    index = np.arange(len(fault))
    first = np.minimum.reduceat(np.where(fault != 0, index, len(fault)), starts)
    first_of_row = np.repeat(first, np.diff(starts, append=len(fault)))
    padded = np.append(fault, np.int8(0))
    return np.where(index >= first_of_row, padded[first_of_row], np.int8(0))
