"""CSV files, as people really have them: any delimiter, byte-order marks, other encodings, ragged lines.

A clean file is read by Polars, straight into its types. At the first thing that Polars will not take, the rest of
the file is read line by line as text, so that each bad row is known by its number and the others are kept.
"""

import codecs
import csv
import io
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import polars as pl

from training_image.dataset.errors import FileRefusedError
from training_image.dataset.fields import Field, Origin
from training_image.dataset.source import HEAD, rows_at_once, short

SAMPLE = 2**16
MAX_LINE = 2**22
DELIMITERS = (",", ";", "\t", "|")
SLOW_ROWS = 2**15

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

csv.field_size_limit(MAX_LINE)


class CsvSource:
    """A CSV file with a header line."""

    format = "csv"

    def __init__(self, name: str, path: Path, scratch: Path) -> None:
        self.name = name
        self.repairs: list[str] = []
        self._path = path
        self._size = path.stat().st_size
        self._is_known = False
        self._rewrite_to = scratch / "rewritten"
        self._encoding = self._find_encoding()
        has_lone_returns = self._has_lone_returns()
        if has_lone_returns and not self._is_what_it_begins_as():
            self._encoding = self._windows()
        if has_lone_returns or self._encoding not in ("utf-8", "utf-8-sig"):
            self._path = self._rewritten()
        sample = self._sample()
        header, _, rest = sample.partition("\n")
        if not header.strip():
            raise FileRefusedError("its first line, which should name the columns, is empty")
        self._delimiter = max(DELIMITERS, key=header.count)
        try:
            self._header = [cell.strip() for cell in next(csv.reader([header], delimiter=self._delimiter))]
        except csv.Error as error:
            raise FileRefusedError(f"its first line, which should name the columns: {short(error)}") from error
        self._rows = [line for line in rest.split("\n")[:-1][:HEAD] if line.strip()] or rest.split("\n")[:1]
        self._decimal_comma = self._delimiter != "," and self._has_decimal_commas()
        if self._delimiter != ",":
            self.repairs.append(f"its columns are separated by {self._delimiter!r}")
        if self._decimal_comma:
            self.repairs.append("its numbers have a decimal comma")

    def columns(self) -> Mapping[str, Any]:
        if all(_looks_like_a_value(name) for name in self._header):
            raise FileRefusedError("its first line has values where the names of the columns should be")
        twice = sorted({name for name in self._header if self._header.count(name) > 1})
        if twice:
            raise FileRefusedError(f"several of its columns are called {', '.join(map(repr, twice))}")
        return {name: pl.String() for name in self._header}

    def estimated_rows(self) -> int:
        length = sum(len(line) + 1 for line in self._rows) / max(1, len(self._rows))
        return int(self._size / max(1.0, length)) + 1

    def head(self, column: str) -> pl.Series:
        return pl.Series(self._values(column), dtype=pl.String)

    def batches(self, fields: Sequence[Field], origins: Mapping[str, Origin]) -> Iterator[pl.DataFrame]:
        columns = list(dict.fromkeys(origin.column for origin in origins.values()))
        types = {origins[f.name].column: self._type(f, origins[f.name]) for f in fields if f.name in origins}
        if pl.String() in types.values():
            self._see_to_encoding()
        done = 0
        for frame in self._fast(types, columns, rows_at_once(len(fields))):
            yield frame
            done += len(frame)
        if not self._finished:
            self._see_to_encoding()
            yield from self._slow(columns, rows_at_once(len(fields)), skip=done)

    def _fast(self, types: Mapping[str, Any], columns: list[str], rows: int) -> Iterator[pl.DataFrame]:
        """Batches until the end, or until the first thing that is not as it should be."""
        self._finished = False
        query = pl.scan_csv(
            self._path,
            separator=self._delimiter,
            decimal_comma=self._decimal_comma,
            schema={name: types.get(name, pl.String()) for name in self._header},
            glob=False,
        ).select(columns)
        try:
            for frame in query.collect_batches(chunk_size=rows, maintain_order=True):
                if any(frame.null_count().row(0)):
                    return
                yield frame
        except Exception:  # it is read again, by what can say which row is wrong
            return
        self._finished = True

    def _type(self, field: Field, origin: Origin) -> Any:
        if origin.element is not None:
            return pl.String()
        if field.kind == "number" or (field.kind == "time" and field.dtype == pl.Float64):
            return pl.Float64()
        if field.kind == "integer" or (field.kind == "id" and field.dtype == pl.Int64):
            return pl.Int64()
        if field.kind == "boolean" and set(self._values(origin.column)) <= {"true", "false", "True", "False"}:
            return pl.Boolean()
        if field.kind == "boolean" and set(self._values(origin.column)) <= {"0", "1"}:
            return pl.Int64()
        return pl.String()

    def _values(self, column: str) -> list[str]:
        place = self._header.index(column)
        rows = csv.reader(self._rows, delimiter=self._delimiter)
        return [row[place] for row in rows if len(row) > place]

    def _slow(self, columns: list[str], rows: int, *, skip: int) -> Iterator[pl.DataFrame]:
        places = [self._header.index(column) for column in columns]
        width = len(self._header)
        lines = csv.reader(self._lines(), delimiter=self._delimiter)
        next(lines)
        good = (row for row in lines if row)
        try:
            for _ in itertools.islice(good, skip):
                pass
            while batch := list(itertools.islice(good, min(rows, SLOW_ROWS))):
                # A line with too few or too many cells says nothing of which is which.
                cells = [
                    [row[place] for place in places] if len(row) == width else [None] * len(places) for row in batch
                ]
                texts = zip(*cells, strict=True)
                frame = pl.DataFrame(
                    {name: list(text) for name, text in zip(columns, texts, strict=True)},
                    schema={name: pl.String() for name in columns},
                )
                yield frame.with_columns(pl.all().str.replace(",", ".", literal=True)) if self._decimal_comma else frame
        except csv.Error as error:
            raise FileRefusedError(f"line {lines.line_num}: {short(error)}") from error

    def _lines(self) -> Iterator[str]:
        with self._path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            while line := file.readline(MAX_LINE):
                if len(line) == MAX_LINE:
                    raise FileRefusedError(f"it has a line of more than {MAX_LINE:,} characters")
                if not line.isascii():
                    line = line.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
                yield line

    def _find_encoding(self) -> str:
        with self._path.open("rb") as file:
            head = file.read(SAMPLE)
        for mark, encoding in _MARKS:
            if head.startswith(mark):
                self.repairs.append(f"it begins with the byte-order mark of {encoding.removesuffix('-sig').upper()}")
                return encoding
        if head.startswith(b"PAR1") or head.startswith(b"PK\x03\x04") or head.startswith(b"\x89HDF"):
            raise FileRefusedError("it is no text, whatever its name says")
        if b"\0" in head and head.count(b"\0") > len(head) // 4:
            raise FileRefusedError("it is no text: it has bytes of value 0; UTF-16 needs a byte-order mark")
        return "utf-8" if _is_utf8(io.BytesIO(head), whole=len(head) < SAMPLE) else self._windows()

    def _see_to_encoding(self) -> None:
        """Look for what is no UTF-8 behind the beginning too. That reads the whole file, so it is only done for texts
        and where something is wrong: in numbers there is nothing that it could tell."""
        if not self._is_what_it_begins_as():
            self._encoding = self._windows()
            self._path = self._rewritten()

    def _is_what_it_begins_as(self) -> bool:
        if self._encoding != "utf-8" or self._is_known:
            return True
        self._is_known = True
        with self._path.open("rb") as file:
            return _is_utf8(file, whole=True)

    def _windows(self) -> str:
        self.repairs.append("it is not UTF-8, so it was read as Windows-1252")
        return "cp1252"

    def _has_lone_returns(self) -> bool:
        with self._path.open("rb") as file:
            head = file.read(SAMPLE)
        lone = self._encoding.startswith("utf-8") and b"\n" not in head and b"\r" in head
        if lone:
            self.repairs.append("its lines end with a carriage return alone")
        return lone

    def _rewritten(self) -> Path:
        """The file as UTF-8, its lines ended by a line feed."""
        target = self._rewrite_to
        errors = "strict" if self._encoding.startswith("utf") else "replace"
        try:
            with (
                self._path.open(encoding=self._encoding, errors=errors, newline=None) as old,
                target.open("w", encoding="utf-8", newline="\n") as new,
            ):
                while block := old.read(2**20):
                    new.write(block)
        except UnicodeError as error:
            raise FileRefusedError(
                f"it is not the {self._encoding.upper()} that it begins as: {short(error)}"
            ) from error
        self._size = target.stat().st_size
        return target

    def _sample(self) -> str:
        with self._path.open("rb") as file:
            head = file.read(SAMPLE)
            if b"\n" not in head:  # a table of thousands of columns has a long header
                head += file.readline(MAX_LINE)
        return head.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")

    def _has_decimal_commas(self) -> bool:
        cells = [cell for row in csv.reader(self._rows, delimiter=self._delimiter) for cell in row]
        with_comma = sum(re.fullmatch(r"\s*[-+]?\d+,\d+\s*", cell) is not None for cell in cells)
        return with_comma > 0 and not any(re.fullmatch(r"\s*[-+]?\d+\.\d+\s*", cell) for cell in cells)


def _looks_like_a_value(text: str) -> bool:
    if text.lower() in ("true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_utf8(file: BinaryIO, *, whole: bool) -> bool:
    """Whether all of it is; without `whole` its last character may be cut."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while block := file.read(2**20):
            if not block.isascii() or decoder.getstate()[0]:
                decoder.decode(block)
        decoder.decode(b"", final=whole)
    except UnicodeDecodeError:
        return False
    return True
