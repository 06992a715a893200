"""A table: history that an environment replays, row by row in the order of its time."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl

from contract.catalogue import ColumnType
from contract.dataset import Dataset, Part
from contract.layout import HELD_OUT_DATA, TRAINING_DATA
from training_image.dataset.errors import FileRefusedError, TooLargeError
from training_image.dataset.fields import Field, table_fields
from training_image.dataset.files import TABLE_FORMATS
from training_image.dataset.preparation import Job, Opened, Report, begin, finished, opened, settle
from training_image.dataset.rows import check
from training_image.dataset.statistics import ColumnFigures, Sample
from training_image.dataset.writing import PartWriter

MOST_BYTES = 2**28
"""Of a table in memory: the environment, too, holds all of it."""

SORTED = "rows whose time went backwards were sorted"
SAME = "rows that were there twice, every value the same, were kept once"
TWICE = "another row has the same time, with other values"

_ROW, _FILE = "\0row", "\0file"


def prepare_table(job: Job, columns: Mapping[str, ColumnType]) -> tuple[Dataset, pl.DataFrame]:
    """Check, sort, split and write a table; what dataset.json says of it, and a sample of its rows.

    Raises:
        TooLargeError: it does not fit into memory.
    """
    report = begin(job)
    sources = opened(job, report, table_fields(columns), TABLE_FORMATS)
    fields = settle(table_fields(columns), sources, report)
    frames: list[pl.DataFrame] = []
    for one in sources:
        job.reading(one.source.name)
        frames += _read(one, fields, report, room=MOST_BYTES - sum(int(frame.estimated_size()) for frame in frames))
    finished(report, sources)
    schema = {f.name: f.dtype for f in fields} | {_ROW: pl.UInt32, _FILE: pl.String}
    table = _in_order(pl.concat([pl.DataFrame(schema=schema), *frames]), report)
    table = _without_twice(table, report).drop(_ROW, _FILE)
    _look_at_steps(table["time"], report)
    times = table["time"].to_physical().cast(pl.Float64).to_numpy()
    cut = times[-1] - job.data.held_out * (times[-1] - times[0]) if len(times) else 0.0
    train, held_out = table.filter(pl.Series(times < cut)), table.filter(pl.Series(times >= cut))
    rejected_file = report.rejects.finish()
    accepted, reason = report.verdict(len(train))
    figures, sample = ColumnFigures(fields), Sample()
    figures.add(train)
    sample.add(train)
    dataset = Dataset(
        kind="table",
        accepted=accepted,
        reason=reason,
        rows=sum(report.rows.values()),
        rejected=report.rejects.rows,
        max_rejected=job.data.max_rejected,
        split="time",
        held_out_share=job.data.held_out,
        files=report.file_reports(),
        reasons=report.rejects.reasons(),
        repairs=report.repairs,
        warnings=report.warnings,
        train=_written(train, job.output, TRAINING_DATA),
        held_out=_written(held_out, job.output, HELD_OUT_DATA),
        columns=figures.columns(),
        rejected_file=rejected_file,
    )
    return dataset, sample.frame()


def _read(one: Opened, fields: Sequence[Field], report: Report, *, room: int) -> list[pl.DataFrame]:
    """The good rows of a file; none of one that cannot be read to its end."""
    frames: list[pl.DataFrame] = []
    one.rows = 0
    try:
        for raw in one.source.batches(fields, one.origins):
            checked = check(raw, fields, one.origins)
            numbers = pl.int_range(one.rows, one.rows + len(raw), dtype=pl.UInt32).alias(_ROW)
            frame = checked.frame.with_columns(numbers, pl.lit(one.source.name).alias(_FILE))
            one.rows += len(raw)
            if checked.reasons is not None:
                bad = checked.reasons.is_not_null()
                rejected = frame.filter(bad)
                report.rejects.add(rejected[_FILE], rejected[_ROW] + 1, checked.reasons.drop_nulls(), raw.filter(bad))
                frame = frame.filter(~bad)
            frames.append(frame)
            room -= int(frame.estimated_size())
            if room < 0:
                raise TooLargeError(f"the table takes more than the {MOST_BYTES:,} bytes of memory that it may")
    except FileRefusedError as error:
        report.refused[one.source.name] = str(error)
        one.rows = 0
        return []
    return frames


def _in_order(table: pl.DataFrame, report: Report) -> pl.DataFrame:
    times = table["time"].to_physical().to_numpy()
    behind = int((times < np.maximum.accumulate(times)).sum()) if len(times) else 0
    report.count(SORTED, behind)
    return table.sort("time", maintain_order=True) if behind else table


def _without_twice(table: pl.DataFrame, report: Report) -> pl.DataFrame:
    """One row a time: what is the same as the first is dropped, what differs is rejected."""
    times = table["time"].to_physical().to_numpy()
    again = np.concatenate([[False], times[1:] == times[:-1]])[: len(times)]
    if not again.any():
        return table
    index = np.arange(len(table))
    first = np.maximum.accumulate(np.where(again, 0, index))
    later, earlier = table[index[again]], table[first[again]]
    values = [name for name in table.columns if name not in (_ROW, _FILE)]
    equal = pl.DataFrame([later[name].eq_missing(earlier[name]).alias(name) for name in values])
    same = equal.select(pl.all_horizontal(pl.all())).to_series()
    report.count(SAME, int(same.sum()))
    conflicts = later.filter(~same)
    if len(conflicts):
        reasons = pl.Series([TWICE]).new_from_index(0, len(conflicts))
        report.rejects.add(conflicts[_FILE], conflicts[_ROW] + 1, reasons, conflicts.drop(_ROW, _FILE))
    return table.filter(~pl.Series(again))


def _look_at_steps(times: pl.Series, report: Report) -> None:
    steps = times.diff().drop_nulls()
    if steps.is_empty():
        return
    usual = steps.mode().sort().item(0)
    odd = int((steps != usual).sum())
    if odd:
        report.warnings.append(f"{odd:,} of {len(steps):,} steps of time are not the usual {usual}")


def _written(rows: pl.DataFrame, output: Path, folder: str) -> Part:
    name = Path(folder).name
    shutil.rmtree(output / name, ignore_errors=True)
    writer = PartWriter(output, name)
    writer.add(rows)
    times = rows["time"]
    return Part(
        rows=len(rows),
        begins=None if times.is_empty() else str(times.item(0)),
        ends=None if times.is_empty() else str(times.item(-1)),
        files=writer.finish(),
    )
