"""What only a whole episode shows: steps that are missing, rows after its end, an end that is missing.

Rows come in the order of their steps, episode after episode, in frames of any length; the last row is held back until
the next one is known. Memory does not grow with an episode's length, and with their number by eight bytes each.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

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

Keep = Callable[[pl.DataFrame, npt.NDArray[np.uint64], npt.NDArray[np.bool_]], None]
Reject = Callable[[pl.DataFrame, pl.Series], None]


@dataclass
class Episodes:
    """Takes rows in order, keeps the good ones and rejects the others.

    `keep` gets frames of good rows, the key of each row's episode and whether a row begins one; `reject` gets the
    others with their reasons. The frames still have the columns `INTERNAL`. With `anywhere`, an episode may begin at
    any step: what is split by time is cut through.
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
        rows = frame if self._held is None else pl.concat([self._held, frame])
        self._check(rows, last=False)
        self._held = rows.tail(1)

    def finish(self) -> None:
        """Take the row that was held back; no more will come.

        Raises:
            NotInOrderError: an episode came again after another one.
        """
        if self._held is not None:
            self._check(self._held, last=True)
            self._held = None
        keys = np.concatenate([np.empty(0, np.uint64), *self._keys])
        if len(np.unique(keys)) < len(keys):
            raise NotInOrderError

    def _check(self, rows: pl.DataFrame, *, last: bool) -> None:
        """Judge all rows, and hand on all but the last, whose successor nobody knows yet; with `last`, that too."""
        keys = rows[KEY].to_numpy()
        steps = rows["step"].to_numpy()
        ends = (rows["terminated"] | rows["truncated"]).to_numpy()
        begins = np.empty(len(keys), dtype=bool)
        begins[0] = self._key is None or keys[0] != self._key
        np.not_equal(keys[1:], keys[:-1], out=begins[1:])
        advance = np.empty(len(keys), dtype=np.int64)
        advance[0] = steps[0] - self._step
        np.subtract(steps[1:], steps[:-1], out=advance[1:])
        if (advance[~begins] <= 0).any():
            raise NotInOrderError
        ended = np.concatenate([[self._ended], ends[:-1]])
        fault = np.zeros(len(keys), dtype=np.int8)
        if not self.anywhere:
            fault[begins & (steps > 1)] = 1
        times = rows["time"].to_physical().to_numpy().astype(np.float64) if "time" in rows.columns else None
        if times is not None:
            fault[~begins & (np.diff(times, prepend=self._time) < 0)] = 4
        fault[~begins & (advance != 1)] = 2
        fault[~begins & ended] = 3
        if self._broken and not begins[0]:
            fault[0] = self._broken
        broken = _onwards(fault, begins) if fault.any() else None
        count = len(keys) if last else len(keys) - 1
        if count:
            self._hand_on(rows, keys, begins, ends, broken, count, last=last)
            self._remember(keys, steps, ends, begins, broken, count)
            self._time = -np.inf if times is None else float(times[count - 1])

    def _remember(
        self,
        keys: npt.NDArray[np.uint64],
        steps: npt.NDArray[np.int64],
        ends: npt.NDArray[np.bool_],
        begins: npt.NDArray[np.bool_],
        broken: npt.NDArray[np.int8] | None,
        count: int,
    ) -> None:
        new = keys[:count][begins[:count]]
        if not self._keys and len(np.unique(new)) < len(new):
            raise NotInOrderError  # no need to read on to know it
        self._keys.append(new.copy())
        self._key, self._step, self._ended = int(keys[count - 1]), int(steps[count - 1]), bool(ends[count - 1])
        self._broken = 0 if broken is None else int(broken[count - 1])

    def _hand_on(
        self,
        rows: pl.DataFrame,
        keys: npt.NDArray[np.uint64],
        begins: npt.NDArray[np.bool_],
        ends: npt.NDArray[np.bool_],
        broken: npt.NDArray[np.int8] | None,
        count: int,
        *,
        last: bool,
    ) -> None:
        final = np.empty(len(keys), dtype=bool)
        final[:-1] = begins[1:]
        final[-1] = last
        unended = final & ~ends
        cut = np.zeros(0, dtype=bool)
        if broken is not None:
            breaks = np.concatenate([(broken[1:] != 0) & ~begins[1:], [False]])
            cut = breaks & (broken == 0) & ~ends
            unended = (unended & (broken == 0)) | cut
        mended = rows.head(count)
        if unended[:count].any():
            mended = mended.with_columns(pl.col("truncated") | pl.Series(unended[:count]))
            self._count(CUT, int(cut[:count].sum()))
            self._count(NO_END, int(unended[:count].sum()) - int(cut[:count].sum()))
        keys, begins = keys[:count], begins[:count]
        if broken is not None and broken[:count].any():
            good = broken[:count] == 0
            codes = pl.Series(broken[:count][~good]).cast(pl.Int64)
            self.reject(mended.filter(~good), codes.replace_strict(_REASONS, return_dtype=pl.String))
            mended, keys, begins = mended.filter(good), keys[good], begins[good]
        if len(keys):
            self.keep(mended, keys, begins)

    def _count(self, repair: str, rows: int) -> None:
        if rows:
            self.repairs[repair] = self.repairs.get(repair, 0) + rows


def _onwards(fault: npt.NDArray[np.int8], begins: npt.NDArray[np.bool_]) -> npt.NDArray[np.int8]:
    """From the first fault of an episode on, that fault in all its rows."""
    index = np.arange(len(fault))
    start = np.maximum.accumulate(np.where(begins, index, 0))
    starts = np.unique(start)
    first = np.minimum.reduceat(np.where(fault != 0, index, len(fault)), starts)
    first_of_row = first[np.searchsorted(starts, start)]
    padded = np.append(fault, np.int8(0))
    return np.where(index >= first_of_row, padded[first_of_row], np.int8(0))
