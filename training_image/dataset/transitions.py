"""Logged experience: whole episodes, each checked, in one of two parts.

Logs whose rows come in order, as most do, are streamed through once. Otherwise the rows are first dealt into buckets on
the disk by their episode and sorted there; either way memory does not grow with the number of rows.
"""

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
import polars as pl

from contract.dataset import Dataset, Part
from contract.layout import HELD_OUT_DATA, TRAINING_DATA
from training_image.dataset.episodes import FILE, INTERNAL, KEY, ROW, Episodes, Runs
from training_image.dataset.errors import FileRefusedError, NotInOrderError, TooLargeError
from training_image.dataset.fields import Field, transition_fields
from training_image.dataset.keys import after, episode_keys, file_base, in_order, scattered
from training_image.dataset.preparation import Job, Opened, Report, afresh, begin, finished, opened, settle
from training_image.dataset.rows import check
from training_image.dataset.statistics import ActionFigures, ColumnFigures, EpisodeFigures, Range, Sample
from training_image.dataset.writing import PartWriter, dtype_bytes

FORMATS = ("parquet", "csv", "jsonl", "npz", "hdf5")

BUCKET_BYTES = 2**26
"""Rows of a bucket in memory; sorting it takes some three times as much."""
HELD_BYTES = 2**26
"""Rows that wait to be written into buckets."""
MOST_BUCKETS = 4096
SMALL_ROWS = 2**18
"""Up to so many rows, how many episodes are held out is counted."""
MOST_BUCKET_BYTES = 2**30

TWICE = "another row has the same episode and step, with other values"
SORTED = "rows that were out of order were sorted"
WARNING = "episodes occur several times with other values: if every file counts anew, set data.episodes_per_file"
SAME = "rows that were there twice, every value the same, were kept once"
NEGATIVE = "with data.episodes_per_file, an episode is a whole number from 0 to 2147483647"


@dataclass(frozen=True, kw_only=True)
class Spaces:
    """What the environment says of observations and actions."""

    observation: gymnasium.Space[Any]
    action: gymnasium.Space[Any]


def prepare_transitions(job: Job, spaces: Spaces) -> tuple[Dataset, pl.DataFrame]:
    """Check, split and write logged experience; what dataset.json says of it, and a sample of its rows."""
    by_time = job.data.split == "time"
    wanted = transition_fields(spaces.observation, spaces.action, timed=by_time)
    report = begin(job)
    sources = opened(job, report, wanted, FORMATS)
    sources = [one for one in sources if _has_ends(one, report)]
    fields = settle(wanted, sources, report)
    if not any("next_observation" in f.root and f.name in one.origins for one in sources for f in fields):
        fields = [f for f in fields if f.root != "next_observation"]
    while True:  # a file that proves unreadable halfway is left out, and the others are read again
        try:
            cut = _cut(job, fields, sources) if by_time else None
            try:
                return _Pass(job, spaces, fields, sources, afresh(report), cut).in_order()
            except NotInOrderError:
                return _Pass(job, spaces, fields, sources, afresh(report), cut).in_buckets()
        except _UnreadableError as error:
            report.refused[error.one.source.name] = str(error.why)
            sources = [one for one in sources if one is not error.one]


class _UnreadableError(Exception):
    def __init__(self, one: Opened, why: FileRefusedError) -> None:
        self.one, self.why = one, why


def _has_ends(one: Opened, report: Report) -> bool:
    """Whether a file without numbered episodes says at least where they end."""
    if "episode" in one.origins or {"terminated", "truncated"} & one.origins.keys():
        return True
    report.refused[one.source.name] = (
        "it lacks episode, and without terminated or truncated nothing says where one ends"
    )
    return False


class _Pass:
    """One time through all rows."""

    def __init__(
        self,
        job: Job,
        spaces: Spaces,
        fields: Sequence[Field],
        sources: Sequence[Opened],
        report: Report,
        cut: float | None,
    ) -> None:
        self._job, self._fields, self._sources, self._report, self._cut = job, fields, sources, report, cut
        self._parts = _Parts(job, spaces, fields, report, cut)
        self._names = pl.Series([one.source.name for one in sources], dtype=pl.String)
        self._episodes = Episodes(keep=self._parts.keep, reject=self._reject, anywhere=cut is not None)

    def in_order(self) -> tuple[Dataset, pl.DataFrame]:
        """Stream the rows through.

        Raises:
            NotInOrderError: the rows of an episode do not follow each other.
        """
        for frame in self._typed():
            self._episodes.add(frame)
        return self._finish()

    def in_buckets(self) -> tuple[Dataset, pl.DataFrame]:
        """Deal the rows into buckets and sort each.

        Raises:
            TooLargeError: a single episode is larger than a bucket may be.
        """
        width = sum(dtype_bytes(f.dtype) for f in self._fields) + 20
        rows = sum(one.source.estimated_rows() for one in self._sources)
        count = min(MOST_BUCKETS, max(1, math.ceil(rows * width / BUCKET_BYTES)))
        shutil.rmtree(self._job.scratch / "buckets", ignore_errors=True)
        buckets = _Buckets(self._job.scratch / "buckets", count)
        for frame in self._typed():
            buckets.add(frame)
        for bucket in buckets.read():
            if bucket.estimated_size() > MOST_BUCKET_BYTES:
                raise TooLargeError(
                    "the rows are not in order, and those of one episode are too many to be sorted in memory: "
                    "sort the files by episode and step"
                )
            self._episodes.add(self._without_twice(bucket[in_order(bucket[KEY], bucket["step"])]))
        self._report.count(SORTED, sum(one.rows for one in self._sources))
        return self._finish()

    def _finish(self) -> tuple[Dataset, pl.DataFrame]:
        self._episodes.finish()
        for repair, rows in self._episodes.repairs.items():
            self._report.count(repair, rows)
        finished(self._report, self._sources)
        return self._parts.finish()

    def _typed(self) -> Iterator[pl.DataFrame]:
        """Good rows of all files, with every field and the columns `INTERNAL`."""
        bases: dict[int, str] = {}
        for number, one in enumerate(self._sources):
            name = one.source.name
            self._job.reading(name)
            base = file_base(name)
            while bases.setdefault(base, name) != name:  # two names of the same hash
                base += 1 << 32
            numbering = _Numbering(base, one, per_file=self._job.data.episodes_per_file)
            one.rows = 0
            for raw in _batches(one, self._fields):
                checked = check(raw, self._fields, one.origins)
                frame = numbering.complete(checked.frame, self._fields)
                reasons = numbering.problems(frame, checked.reasons)
                frame = self._with_internal(frame, first=one.rows, file=number)
                one.rows += len(frame)
                if reasons is not None:
                    bad = reasons.is_not_null()
                    numbers = frame.filter(bad)[ROW] + 1
                    names = self._names[number : number + 1].new_from_index(0, len(numbers))
                    self._report.rejects.add(names, numbers, reasons.drop_nulls(), raw.filter(bad))
                    frame = frame.filter(~bad)
                yield frame.rechunk()  # how a batch is cut depends on the processors

    def _with_internal(self, frame: pl.DataFrame, *, first: int, file: int) -> pl.DataFrame:
        episodes = frame["episode"]
        keys = episode_keys(
            episodes.fill_null(0 if episodes.dtype == pl.Int64 else "") if episodes.null_count() else episodes
        )
        if self._cut is not None:
            keys = pl.Series(after(keys.to_numpy(), _later(frame["time"], self._cut)))
        return frame.with_columns(
            keys.alias(KEY),
            pl.int_range(first, first + len(frame), dtype=pl.UInt32).alias(ROW),
            pl.lit(file, dtype=pl.UInt16).alias(FILE),
        )

    def _reject(self, rows: pl.DataFrame, reasons: pl.Series) -> None:
        self._report.rejects.add(self._names[rows[FILE].to_numpy()], rows[ROW] + 1, reasons, rows)

    def _without_twice(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows in order without those whose episode and step came before; what differs from the first is rejected."""
        keys, steps = rows[KEY].to_numpy(), rows["step"].to_numpy()
        again = np.concatenate([[False], (keys[1:] == keys[:-1]) & (steps[1:] == steps[:-1])])
        if not again.any():
            return rows
        index = np.arange(len(rows))
        first = np.maximum.accumulate(np.where(again, 0, index))
        values = [name for name in rows.columns if name not in INTERNAL]
        later, earlier = rows[index[again]], rows[first[again]]
        equal = pl.DataFrame([later[name].eq_missing(earlier[name]).alias(name) for name in values])
        same = equal.select(pl.all_horizontal(pl.all())).to_series()
        self._report.count(SAME, int(same.sum()))
        conflicts = later.filter(~same)
        if len(conflicts):
            self._reject(conflicts, pl.Series([TWICE]).new_from_index(0, len(conflicts)))
            if len(self._sources) > 1 and not self._job.data.episodes_per_file and WARNING not in self._report.warnings:
                self._report.warnings.append(WARNING)
        return rows.filter(~pl.Series(again))


def _batches(one: Opened, fields: Sequence[Field]) -> Iterator[pl.DataFrame]:
    """A file's raw rows. What makes it unreadable is told with the file that it is."""
    batches = one.source.batches([f for f in fields if f.name in one.origins], one.origins)
    try:
        for raw in batches:
            if not raw.is_empty():
                yield raw
    except FileRefusedError as error:
        raise _UnreadableError(one, error) from error


def _cut(job: Job, fields: Sequence[Field], sources: Sequence[Opened]) -> float:
    """The time at which the held-out part begins: the last share of the time between the first row and the last."""
    times = [f for f in fields if f.name == "time"]
    low, high = np.inf, -np.inf
    for one in sources:
        job.reading(one.source.name)
        origins = {"time": one.origins["time"]}
        source = Opened(one.source, origins)
        for raw in _batches(source, times):
            values = check(raw, times, origins).frame["time"].to_physical().drop_nulls().cast(pl.Float64)
            values = values.filter(values.is_finite())
            if len(values):
                low, high = min(low, float(values.min())), max(high, float(values.max()))  # type: ignore[arg-type]
    return high - job.data.held_out * (high - low)


def _later(times: pl.Series, cut: float) -> npt.NDArray[np.bool_]:
    return times.to_physical().cast(pl.Float64).fill_null(0).to_numpy() >= cut


class _Numbering:
    """Fills in what a file may leave out: which episode, which step of it, whether it was truncated."""

    def __init__(self, base: int, one: Opened, *, per_file: bool) -> None:
        self._base = base
        self._one = one
        self._episode = 0
        self._step = 0
        self._last: Any = None
        self._per_file = per_file and "episode" in one.origins

    def complete(self, frame: pl.DataFrame, fields: Sequence[Field]) -> pl.DataFrame:
        """The frame with all fields, in their order."""
        missing = {f.name: f.dtype for f in fields if f.name not in frame.columns}
        numbered = {name: dtype for name, dtype in missing.items() if name in ("episode", "step")}
        filled = [
            (pl.lit(False) if name == "truncated" else pl.lit(None, dtype=dtype)).alias(name)
            for name, dtype in missing.items()
            if name not in numbered
        ]
        if filled:
            frame = frame.with_columns(filled)
        if numbered:
            frame = self._number(frame, numbered)
        elif self._per_file and frame["episode"].dtype == pl.Int64:
            within = pl.col("episode").is_between(0, 2**31 - 1)
            frame = frame.with_columns(pl.when(within).then(pl.col("episode") + self._base).alias("episode"))
        elif self._per_file:
            frame = frame.with_columns((pl.lit(self._one.source.name + ": ") + pl.col("episode")).alias("episode"))
        names = [f.name for f in fields]
        return frame if frame.columns == names else frame.select(names)

    def problems(self, frame: pl.DataFrame, reasons: pl.Series | None) -> pl.Series | None:
        """The reasons so far, and those of episodes that could not be numbered."""
        if not self._per_file or not frame["episode"].null_count():
            return reasons
        found = pl.when(frame["episode"].is_null()).then(pl.lit(NEGATIVE))
        if reasons is None:
            return frame.select(found).to_series()
        return pl.DataFrame({"r": reasons}).select(pl.coalesce("r", found)).to_series()

    def _number(self, frame: pl.DataFrame, missing: dict[str, Any]) -> pl.DataFrame:
        """Count episodes and steps, which are in order where they have no numbers."""
        if "episode" in missing:
            ends = (frame["terminated"].fill_null(False) | frame["truncated"].fill_null(False)).to_numpy()
            begins = np.concatenate([[self._last is None or self._last], ends[:-1]])
            episodes = self._episode + np.cumsum(begins) - (self._last is None)
            self._episode, self._last = int(episodes[-1]), bool(ends[-1])
            column: Any = pl.Series("episode", self._base + episodes)
            if missing["episode"] == pl.String:
                column = pl.Series("episode", [f"{self._one.source.name}: {number}" for number in episodes])
            frame = frame.with_columns(column)
        else:
            values = frame["episode"]
            begins = values.ne_missing(values.shift(1)).to_numpy().copy()
            begins[0] = self._last is None or values[0] != self._last[0]
            self._last = (values[-1],)
        if "step" in missing:
            index = np.arange(len(frame))
            start = np.maximum.accumulate(np.where(begins, index, -1))
            steps = np.where(start >= 0, index - start, self._step + index + 1)
            self._step = int(steps[-1])
            frame = frame.with_columns(pl.Series("step", steps))
        return frame


class _Buckets:
    """Rows on the disk, dealt out by their episode."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._frames: list[pl.DataFrame] = []
        self._bytes = 0
        self._files: list[list[Path]] = [[] for _ in range(count)]
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, frame: pl.DataFrame) -> None:
        self._frames.append(frame)
        self._bytes += int(frame.estimated_size())
        if self._bytes > HELD_BYTES:
            self._flush()

    def read(self) -> Iterator[pl.DataFrame]:
        """Each bucket's rows, in the order they came."""
        self._flush()
        for files in self._files:
            if files:
                yield pl.concat([pl.read_ipc(path) for path in files], rechunk=True)
                for path in files:
                    path.unlink()

    def _flush(self) -> None:
        if not self._frames:
            return
        rows = pl.concat(self._frames, rechunk=True)
        self._frames, self._bytes = [], 0
        if self._count == 1:
            self._write(0, rows)
            return
        bucket = ((scattered(rows[KEY].to_numpy()) >> np.uint64(32)) % np.uint64(self._count)).astype(np.uint16)
        sizes = np.bincount(bucket, minlength=self._count)
        rows = rows[np.argsort(bucket, kind="stable").astype(np.uint32)]
        first = 0
        for number, size in enumerate(sizes.tolist()):
            if size:
                self._write(number, rows.slice(first, size))
            first += size

    def _write(self, number: int, rows: pl.DataFrame) -> None:
        path = self._folder / f"{number:05d}-{len(self._files[number]):05d}.arrow"
        rows.write_ipc(path, compression="uncompressed")
        self._files[number].append(path)


class _Parts:
    """Deals good rows out into the two parts, and gathers the figures of both."""

    def __init__(self, job: Job, spaces: Spaces, fields: Sequence[Field], report: Report, cut: float | None) -> None:
        self._job, self._report, self._cut = job, report, cut
        for folder in (TRAINING_DATA, HELD_OUT_DATA):
            shutil.rmtree(job.output / Path(folder).name, ignore_errors=True)
        self._columns = ColumnFigures(fields)
        self._actions = ActionFigures(fields, spaces.action)
        self._sample = Sample()
        self._times = [Range(), Range()]
        self._writers = [
            PartWriter(job.output, Path(TRAINING_DATA).name, self._look_at_training),
            PartWriter(job.output, Path(HELD_OUT_DATA).name, self._look_at_held_out),
        ]
        self._episodes = [EpisodeFigures(), EpisodeFigures()]
        self._threshold = np.uint64(min(2**64 - 1, round(job.data.held_out * 2**64)))
        self._waiting: list[tuple[pl.DataFrame, Runs]] | None = []

    def keep(self, frame: pl.DataFrame, runs: Runs) -> None:
        """Take good rows. The first ones wait: where there are few, how many are held out is counted, not drawn."""
        if self._waiting is not None and self._cut is None:
            self._waiting.append((frame, runs))
            if sum(waiting.rows for _, waiting in self._waiting) <= SMALL_ROWS:
                return
            self._release(None)
            return
        self._deal(frame, runs, self._apart(frame, runs))

    def _apart(self, frame: pl.DataFrame, runs: Runs) -> npt.NDArray[np.bool_]:
        """Which runs are held out."""
        if self._cut is None:
            return scattered(runs.keys) < self._threshold
        return _later(frame["time"].gather(runs.starts), self._cut)

    def finish(self) -> tuple[Dataset, pl.DataFrame]:
        """Write what is left; dataset.json and a sample."""
        if self._waiting is not None:
            names = np.unique(np.concatenate([np.empty(0, np.uint64), *(runs.keys for _, runs in self._waiting)]))
            order = names[np.argsort(scattered(names), kind="stable")]
            count = min(max(1, round(self._job.data.held_out * len(names))), len(names) - 1) if len(names) > 1 else 0
            self._release(np.sort(order[:count]))
        written = [writer.finish() for writer in self._writers]
        parts = []
        for files, figures, times in zip(written, self._episodes, self._times, strict=True):
            figures.finish()
            parts.append(
                Part(
                    rows=figures.rows,
                    episodes=figures.episodes,
                    mean_return=figures.mean,
                    min_return=figures.low if figures.episodes else None,
                    max_return=figures.high if figures.episodes else None,
                    begins=None if times.low is None else str(times.low),
                    ends=None if times.high is None else str(times.high),
                    files=files,
                )
            )
        report, data = self._report, self._job.data
        rejected_file = report.rejects.finish()
        accepted, reason = report.verdict(parts[0].rows)
        least = self._job.least_held_out
        if accepted and (parts[1].episodes or 0) < least:
            accepted = False
            why = "to hold one out"
            if least > 1:
                why = (
                    f"to judge a policy by without a simulator: {parts[1].episodes or 0} are held out and {least} are "
                    "needed; bring more, or raise data.held_out"
                )
            count = sum(part.episodes or 0 for part in parts)
            reason = f"The data were rejected: there are too few episodes, {count:,}, {why}."
        dataset = Dataset(
            kind="transitions",
            accepted=accepted,
            reason=reason,
            rows=sum(report.rows.values()),
            rejected=report.rejects.rows,
            max_rejected=data.max_rejected,
            split=data.split or "episode",
            held_out_share=data.held_out,
            files=report.file_reports(),
            reasons=report.rejects.reasons(),
            repairs=report.repairs,
            warnings=report.warnings,
            train=parts[0],
            held_out=parts[1],
            columns=self._columns.columns(),
            actions=self._actions.use(),
            rejected_file=rejected_file,
        )
        return dataset, self._sample.frame()

    def _release(self, held_out: npt.NDArray[np.uint64] | None) -> None:
        """Deal out the rows that waited; `held_out` are the keys of the held-out episodes, or the hash decides."""
        waiting, self._waiting = self._waiting or [], None
        for frame, runs in waiting:
            self._deal(frame, runs, self._apart(frame, runs) if held_out is None else np.isin(runs.keys, held_out))

    def _deal(self, frame: pl.DataFrame, runs: Runs, apart: npt.NDArray[np.bool_]) -> None:
        frame = frame.drop(INTERNAL)
        returns = np.add.reduceat(frame["reward"].to_numpy(), runs.starts)
        for number, chosen in enumerate((~apart, apart)):
            if chosen.any():
                rows = frame if chosen.all() else frame.filter(pl.Series(runs.spread(chosen)))
                self._episodes[number].add(returns[chosen], runs.begins[chosen], len(rows))
                self._writers[number].add(rows)

    def _look_at_training(self, rows: pl.DataFrame) -> None:
        self._columns.add(rows)
        self._actions.add(rows)
        self._sample.add(rows)
        if "time" in rows.columns:
            self._times[0].add(rows["time"])

    def _look_at_held_out(self, rows: pl.DataFrame) -> None:
        if "time" in rows.columns:
            self._times[1].add(rows["time"])
