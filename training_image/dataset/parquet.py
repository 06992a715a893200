"""Parquet files."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from training_image.dataset.errors import FileRefusedError
from training_image.dataset.fields import Field, Origin
from training_image.dataset.source import HEAD, MAX_ROWS_A_BYTE, SMALL, rows_at_once, short


class ParquetSource:
    """A Parquet file."""

    format = "parquet"

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.repairs: list[str] = []
        self._path = path

    def columns(self) -> Mapping[str, Any]:
        try:
            return dict(self._scan().collect_schema())
        except Exception as error:
            raise FileRefusedError(f"it is no readable Parquet file: {short(error)}") from error

    def estimated_rows(self) -> int:
        try:
            return int(self._scan().select(pl.len()).collect().item())
        except Exception as error:
            raise FileRefusedError(f"it is no readable Parquet file: {short(error)}") from error

    def head(self, column: str) -> pl.Series:
        try:
            return self._scan().select(column).head(HEAD).collect().to_series()
        except Exception as error:
            raise FileRefusedError(f"it cannot be read to its end: {short(error)}") from error

    def batches(self, fields: Sequence[Field], origins: Mapping[str, Origin]) -> Iterator[pl.DataFrame]:
        rows, size = self.estimated_rows(), self._path.stat().st_size
        if rows > max(SMALL, size * MAX_ROWS_A_BYTE):
            raise FileRefusedError(f"it claims {rows:,} rows in {size:,} bytes: it looks like a decompression bomb")
        columns = list(dict.fromkeys(origin.column for origin in origins.values()))
        query = self._scan().select(columns)
        try:
            yield from query.collect_batches(chunk_size=rows_at_once(len(fields)), maintain_order=True)
        except Exception as error:
            raise FileRefusedError(f"it cannot be read to its end: {short(error)}") from error

    def _scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self._path, glob=False, hive_partitioning=False)
