"""What only a whole episode shows, beside a judge that looks at one row after the other."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
import pytest

from training_image.dataset.episodes import (
    AFTER,
    BACKWARDS,
    CUT,
    FILE,
    GAP,
    INTERNAL,
    KEY,
    LATE,
    NO_END,
    ROW,
    Episodes,
    Runs,
)
from training_image.dataset.errors import NotInOrderError

FAULTS = ("none", "gap", "late", "after", "backwards", "no end", "all")


@dataclass
class Seen:
    """What came out."""

    kept: list[dict[str, Any]] = field(default_factory=list)
    rejected: dict[int, str] = field(default_factory=dict)
    begins: list[int] = field(default_factory=list)
    repairs: dict[str, int] = field(default_factory=dict)

    def keep(self, frame: pl.DataFrame, runs: Runs) -> None:
        """Take rows and see that their runs are true of them."""
        assert runs.rows == len(frame)
        ones = np.ones(len(runs.starts), bool)
        assert runs.spread(ones).all()
        assert frame[KEY].to_list() == np.repeat(runs.keys, np.diff(runs.starts, append=runs.rows)).tolist()
        self.kept += frame.drop(INTERNAL).to_dicts()
        self.begins += frame[ROW].gather(runs.starts[runs.begins]).to_list()

    def reject(self, rows: pl.DataFrame, reasons: pl.Series) -> None:
        """Take rows and their reasons."""
        self.rejected |= dict(zip(rows[ROW].to_list(), reasons.to_list(), strict=True))


def log(seed: int, fault: str, *, timed: bool) -> pl.DataFrame:
    """Short episodes in order, some of them with a fault."""
    generator = np.random.default_rng(seed)
    rows: list[dict[str, Any]] = []
    for episode in range(60):
        length, first = int(generator.integers(1, 9)), int(generator.integers(0, 2))
        one = [{"step": first + i, "time": 10.0 * i, "terminated": i == length - 1} for i in range(length)]
        kind = str(generator.choice(FAULTS[1:-1])) if fault == "all" else fault
        if generator.random() < 0.4:
            where = int(generator.integers(0, length))
            if kind == "gap":
                del one[where : where + 2]
            elif kind == "late":
                one = [row | {"step": row["step"] + 2} for row in one]
            elif kind == "after":
                one[where]["terminated"] = True
            elif kind == "backwards" and timed:
                one[where]["time"] -= 25.0
            elif kind == "no end":
                one[-1]["terminated"] = False
        rows += [{"episode": episode} | row | {"truncated": False} for row in one]
    frame = pl.DataFrame(rows).with_columns(
        pl.col("episode").cast(pl.UInt64).alias(KEY),
        pl.int_range(pl.len(), dtype=pl.UInt32).alias(ROW),
        pl.lit(0, dtype=pl.UInt16).alias(FILE),
    )
    return frame if timed else frame.drop("time")


def judged(frame: pl.DataFrame, *, anywhere: bool) -> Seen:
    """The same, one row after the other."""
    seen, rows = Seen(), frame.to_dicts()
    reason, good = None, []
    for before, row in zip([None, *rows], rows, strict=False):
        begins = before is None or before["episode"] != row["episode"]
        if begins:
            reason = LATE if row["step"] > 1 and not anywhere else None
        elif reason is None:
            if before["terminated"] or before["truncated"]:
                reason = AFTER
            elif row["step"] != before["step"] + 1:
                reason = GAP
            elif "time" in row and row["time"] < before["time"]:
                reason = BACKWARDS
        if reason:
            seen.rejected[row[ROW]] = reason
        else:
            good.append(row)
            seen.begins += [row[ROW]] if begins else []
    for row in good:
        after = rows[row[ROW] + 1] if row[ROW] + 1 < len(rows) else None
        last = after is None or after["episode"] != row["episode"]
        if not row["terminated"] and (last or after[ROW] in seen.rejected):
            row["truncated"] = True
            repair = NO_END if last else CUT
            seen.repairs[repair] = seen.repairs.get(repair, 0) + 1
        seen.kept.append({name: value for name, value in row.items() if name not in INTERNAL})
    return seen


def given(episodes: Episodes, frames: Iterable[pl.DataFrame]) -> None:
    for frame in frames:
        episodes.add(frame)
    episodes.finish()


@pytest.mark.parametrize("timed", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("most", [1, 3, 40, 1000])
def test_rows_are_judged_as_one_by_one_in_frames_of_any_length(fault: str, most: int, timed: bool) -> None:
    for seed in range(4 if most >= 40 else 1):
        frame = log(seed, fault, timed=timed)
        seen = Seen()
        episodes = Episodes(keep=seen.keep, reject=seen.reject, anywhere=timed)
        lengths = np.random.default_rng(seed).integers(1, most + 1, size=len(frame))
        ends = np.cumsum(lengths)
        given(episodes, [frame.slice(end - length, length) for end, length in zip(ends, lengths, strict=True)])
        seen.repairs = episodes.repairs
        assert seen == judged(frame, anywhere=timed)


@pytest.mark.parametrize("length", [1, 2, 5, 100])
def test_rows_that_are_not_in_order_are_noticed(length: int) -> None:
    whole = log(0, "none", timed=False)
    twice = pl.concat([whole.head(3), whole.slice(2, 1), whole.slice(3)])
    again = pl.concat([whole, whole.head(1)])
    swapped = pl.concat([whole.slice(1, 1), whole.head(1), whole.slice(2)])
    assert whole["episode"][0] == whole["episode"][1]
    for frame in (twice, again, swapped):
        episodes = Episodes(keep=lambda *_: None, reject=lambda *_: None)
        with pytest.raises(NotInOrderError):
            given(episodes, [frame.slice(first, length) for first in range(0, len(frame), length)])
