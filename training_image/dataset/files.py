"""Files of every format as frames of raw columns, a bounded number of rows at a time."""

import gzip
import shutil
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from training_image.dataset.errors import FileRefusedError
from training_image.dataset.fields import Field, Origin

SUFFIXES = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".csv": "csv",
    ".tsv": "csv",
    ".txt": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".npz": "npz",
    ".hdf5": "hdf5",
    ".h5": "hdf5",
}
TABLE_FORMATS = ("parquet", "csv")

BATCH_ROWS = 2**18
BATCH_BYTES = 2**26

MAX_EXPANSION = 250
"""How much larger than itself a compressed file may become; gzip allows 1032, real tables stay below 30."""
MAX_ROWS_A_BYTE = 20
"""How many rows a byte of a Parquet file may claim to hold; of real logs it is less than one."""
HEAD = 1000
SMALL = 2**20
"""Bytes up to which no such ratio is asked for."""


class Source(Protocol):
    """One file."""

    name: str
    format: str
    repairs: list[str]

    def columns(self) -> Mapping[str, Any]:
        """Its columns and their Polars types.

        Raises:
            FileRefusedError: it cannot be read.
        """
        ...

    def estimated_rows(self) -> int:
        """About how many rows it has."""
        ...

    def head(self, column: str) -> pl.Series:
        """The first values of a column, at most a thousand."""
        ...

    def batches(self, fields: Sequence[Field], origins: Mapping[str, Origin]) -> Iterator[pl.DataFrame]:
        """Its rows in their order, with the columns that `origins` names.

        Raises:
            FileRefusedError: it cannot be read to its end.
        """
        ...


def format_of(name: str) -> str | None:
    """The format that a file's name says, or None."""
    path = Path(name.lower().removesuffix(".gz"))
    return SUFFIXES.get(path.suffix)


def open_source(name: str, path: Path, scratch: Path) -> Source:
    """Open a file.

    :param name: what the user calls it, such as `data/log.csv`.
    :param path: where it lies.
    :param scratch: a folder for what it must be turned into first.

    Raises:
        FileRefusedError: it is no data that can be read.
    """
    kind = format_of(name)
    if path.stat().st_size == 0:
        raise FileRefusedError("it is empty")
    with path.open("rb") as file:
        begins = file.read(2)
    expanded = begins == b"\x1f\x8b"
    if expanded:
        path = _expanded(path, scratch / "expanded")
        if path.stat().st_size == 0:
            raise FileRefusedError("it is empty")
    source: Source
    if kind == "parquet":
        from training_image.dataset.parquet import ParquetSource

        source = ParquetSource(name, path)
    elif kind == "csv":
        from training_image.dataset.text import CsvSource

        source = CsvSource(name, path, scratch)
    elif kind == "jsonl":
        from training_image.dataset.lines import JsonLinesSource

        source = JsonLinesSource(name, path)
    elif kind in ("npz", "hdf5"):
        from training_image.dataset.arrays import HdfSource, NpzSource

        source = NpzSource(name, path) if kind == "npz" else HdfSource(name, path)
    else:
        raise FileRefusedError(f"its format is unknown; known are {', '.join(SUFFIXES)}, and .gz of them")
    return source


def rows_at_once(numbers: int) -> int:
    """How many rows of so many numbers are read at a time."""
    return max(1, min(BATCH_ROWS, BATCH_BYTES // (8 * max(1, numbers))))


def check_expansion(size: int, expanded: int, what: str) -> None:
    """Refuse what claims, or proves, to be far larger than its file.

    Raises:
        FileRefusedError: it does.
    """
    if expanded > max(SMALL, size * MAX_EXPANSION):
        raise FileRefusedError(
            f"{what} {expanded:,} bytes, more than {MAX_EXPANSION} times the {size:,} of the file: it looks like a "
            "decompression bomb"
        )


def _expanded(path: Path, target: Path) -> Path:
    size, written = path.stat().st_size, 0
    free = shutil.disk_usage(target.parent).free
    try:
        with gzip.open(path) as packed, target.open("wb") as plain:
            while block := packed.read(2**20):
                written += len(block)
                check_expansion(size, written, "unpacked it takes more than")
                if written > free // 2:
                    raise FileRefusedError("unpacked it does not fit on the disk")
                plain.write(block)
    except (OSError, EOFError, zlib.error) as error:
        raise FileRefusedError(f"it cannot be unpacked: {error}") from error
    return target
