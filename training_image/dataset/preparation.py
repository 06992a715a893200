"""What preparing works on and what it leaves behind."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from contract.dataset import FileReport
from contract.layout import REJECTED_ROWS
from contract.run import DataSection
from training_image.dataset import files
from training_image.dataset.errors import FileRefusedError
from training_image.dataset.fields import Field, Origin, resolve
from training_image.dataset.inputs import InputFile, hashes
from training_image.dataset.source import Source
from training_image.dataset.writing import Rejects

LOOKS_WHOLE = 0.9
"""Share of a column's first values that must be of a kind for the column to be of that kind."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One preparation: which files, what is asked of them, and where the results go."""

    data: DataSection
    inputs: Sequence[InputFile]
    output: Path
    scratch: Path
    reading: Callable[[str], None] = lambda _: None
    """Told the name of each file before it is touched."""
    least_held_out: int = 1
    """Episodes of a log that must be held out."""


@dataclass
class Opened:
    """A file that can be read, and where it has which field."""

    source: Source
    origins: dict[str, Origin]
    rows: int = 0


@dataclass
class Report:
    """What was found, while it is being found."""

    job: Job
    rejects: Rejects
    hashes: Mapping[str, Future[str]]
    refused: dict[str, str] = field(default_factory=dict)
    formats: dict[str, str | None] = field(default_factory=dict)
    file_repairs: dict[str, list[str]] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    repairs: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def count(self, repair: str, rows: int) -> None:
        """Something was put right in so many rows."""
        if rows:
            self.repairs[repair] = self.repairs.get(repair, 0) + rows

    def file_reports(self) -> list[FileReport]:
        """Every file of the run, in the order of their names."""
        return [
            FileReport(
                file=given.name,
                bytes=given.bytes,
                sha256=self.hashes[given.name].result(),
                format=self.formats.get(given.name),
                rows=self.rows.get(given.name, 0),
                rejected=self.rejects.by_file.get(given.name, 0),
                refused=self.refused.get(given.name),
                repairs=self.file_repairs.get(given.name, []),
            )
            for given in self.job.inputs
        ]

    def verdict(self, usable: int) -> tuple[bool, str]:
        """Whether the data are accepted, and why. `usable` is the number of rows to train on."""
        rows, rejected = sum(self.rows.values()), self.rejects.rows
        total = sum(given.bytes for given in self.job.inputs)
        unread = sum(given.bytes for given in self.job.inputs if given.name in self.refused)
        limit = self.job.data.max_rejected
        read = f"{rows:,} rows in {len(self.job.inputs) - len(self.refused)} of {len(self.job.inputs)} files"
        worst = self.rejects.reasons()
        because = f"; most often: {worst[0].reason}" if worst else ""
        if self.refused and (rows == 0 or unread > limit * total):
            name, why = next(iter(self.refused.items()))
            share = 100 * unread / max(1, total)
            others = f" and {len(self.refused) - 1} more" if len(self.refused) > 1 else ""
            return False, f"The data were rejected: {name}{others} cannot be used ({share:.3g} % of all bytes): {why}."
        if rows == 0:
            return False, "The data were rejected: there is not a single row in them."
        if rejected > limit * rows:
            share = 100 * rejected / rows
            said = f"{rejected:,} of {read} cannot be used, {share:.3g} %; at most {100 * limit:g} % may{because}"
            return False, f"The data were rejected: {said}."
        if not usable:
            return False, f"The data were rejected: of {read}, none is left to train on."
        return True, f"The data were accepted: {read}, of which {rejected:,} cannot be used{because}."


def begin(job: Job) -> Report:
    """A report of nothing yet."""
    return Report(job=job, rejects=_no_rejects(job), hashes=hashes(job.inputs))


def afresh(report: Report) -> Report:
    """The report before any row was read."""
    job = report.job
    again = Report(job=job, rejects=_no_rejects(job), hashes=report.hashes)
    again.refused, again.formats, again.warnings = report.refused, report.formats, list(report.warnings)
    return again


def _no_rejects(job: Job) -> Rejects:
    return Rejects(job.output, Path(REJECTED_ROWS).name, job.scratch)


def opened(job: Job, report: Report, fields: Sequence[Field], formats: Sequence[str]) -> list[Opened]:
    """The files that can be read; those that cannot are noted in the report."""
    found: list[Opened] = []
    for given in job.inputs:
        report.formats[given.name] = kind = files.format_of(given.name)
        try:
            if given.refused is not None:
                raise FileRefusedError(given.refused)
            if kind is not None and kind not in formats:
                raise FileRefusedError(f"data.kind {job.data.kind} is read from {', '.join(formats)}")
            job.reading(given.name)
            scratch = job.scratch / f"file-{len(found):05d}"
            scratch.mkdir(parents=True, exist_ok=True)
            source = files.open_source(given.name, given.path, scratch)
            found.append(Opened(source, resolve(source.columns(), fields, job.data.columns)))
        except FileRefusedError as error:
            report.refused[given.name] = str(error)
    return found


def settle(fields: Sequence[Field], sources: Sequence[Opened], report: Report) -> list[Field]:
    """The fields with the types that all files can give: numbers or names of episodes, numbers or dates of time."""
    settled = []
    for f in fields:
        if f.kind == "id":
            whole = all(_looks_like(one, f, pl.Int64) for one in sources if f.name in one.origins)
            f = _with(f, pl.Int64 if whole else pl.String)
        elif f.kind == "time":
            numbers = [one for one in sources if f.name in one.origins and _looks_like(one, f, pl.Float64)]
            f = _with(f, pl.Float64 if len(numbers) == len(sources) else pl.Datetime("us"))
            if numbers and len(numbers) < len(sources):
                report.warnings.append(f"the time is a number in {numbers[0].source.name} and a date in other files")
        settled.append(f)
    return settled


def _looks_like(one: Opened, f: Field, dtype: Any) -> bool:
    try:
        head = one.source.head(one.origins[f.name].column)
    except FileRefusedError:
        return True  # it is refused when it is read
    if head.dtype == pl.String:
        head = head.str.strip_chars().replace("", None)
    elif not head.dtype.is_numeric():
        return False
    there = head.drop_nulls()
    return there.cast(dtype, strict=False).is_not_null().sum() >= LOOKS_WHOLE * len(there)


def _with(f: Field, dtype: Any) -> Field:
    return Field(name=f.name, kind=f.kind, dtype=dtype, low=f.low, high=f.high, nullable=f.nullable, root=f.root)


def finished(report: Report, sources: Sequence[Opened]) -> None:
    """Note what the sources learned of themselves."""
    for one in sources:
        report.rows[one.source.name] = one.rows
        report.file_repairs[one.source.name] = list(one.source.repairs)
