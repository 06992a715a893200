"""What a file of any format is to those who read it, and what all formats share."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import polars as pl

from training_image.dataset.errors import FileRefusedError
from training_image.dataset.fields import Field, Origin

BATCH_ROWS = 2**19
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


def short(error: Exception) -> str:
    """The first line of what a library says."""
    text = (str(error) or repr(error)).strip().splitlines()[0]
    return text if len(text) <= 200 else text[:197] + "..."
