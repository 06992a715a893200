"""Files of every format as frames of raw columns, a bounded number of rows at a time."""

import gzip
import shutil
import zlib
from pathlib import Path

from training_image.dataset.arrays import HdfSource, NpzSource
from training_image.dataset.errors import FileRefusedError
from training_image.dataset.lines import JsonLinesSource
from training_image.dataset.parquet import ParquetSource
from training_image.dataset.source import Source, check_expansion
from training_image.dataset.text import CsvSource

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
    if kind == "parquet":
        return ParquetSource(name, path)
    if kind == "csv":
        return CsvSource(name, path, scratch)
    if kind == "jsonl":
        return JsonLinesSource(name, path)
    if kind == "npz":
        return NpzSource(name, path)
    if kind == "hdf5":
        return HdfSource(name, path)
    raise FileRefusedError(f"its format is unknown; known are {', '.join(SUFFIXES)}, and .gz of them")


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
