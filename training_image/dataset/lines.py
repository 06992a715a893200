"""JSON lines: one JSON object a line."""

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from training_image.dataset.errors import FileRefusedError
from training_image.dataset.fields import Field, Origin
from training_image.dataset.source import HEAD, rows_at_once

MAX_LINE = 2**22
_LOOKED_AT = 100
_AT_ONCE = 2**15


class JsonLinesSource:
    """A file of JSON objects. Which columns there are, its first lines say."""

    format = "jsonl"

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.repairs: list[str] = []
        self._path = path

    def columns(self) -> Mapping[str, Any]:
        columns: dict[str, Any] = {}
        for document in itertools.islice(self._documents(), _LOOKED_AT):
            for name, value in document.items():
                columns.setdefault(name, pl.List(pl.Float64()) if isinstance(value, list) else pl.String())
        if not columns:
            raise FileRefusedError(f"none of its first {_LOOKED_AT} lines is a JSON object")
        return columns

    def estimated_rows(self) -> int:
        with self._path.open("rb") as file:
            lines = [len(line) for line in itertools.islice(file, _LOOKED_AT)]
        return int(self._path.stat().st_size / max(1, sum(lines) / max(1, len(lines)))) + 1

    def head(self, column: str) -> pl.Series:
        documents = itertools.islice(self._documents(), HEAD)
        return pl.Series([_text(document.get(column)) for document in documents], dtype=pl.String)

    def batches(self, fields: Sequence[Field], origins: Mapping[str, Origin]) -> Iterator[pl.DataFrame]:
        columns = list(dict.fromkeys(origin.column for origin in origins.values()))
        documents = self._documents()
        # As text, so that a value of another type is judged like one in any other file.
        while batch := list(itertools.islice(documents, min(rows_at_once(len(fields)), _AT_ONCE))):
            yield pl.DataFrame(
                {name: [_text(document.get(name)) for document in batch] for name in columns},
                schema={name: pl.String() for name in columns},
            )

    def _documents(self) -> Iterator[dict[str, Any]]:
        """The objects; of a line that is none, an empty one, whose row is then rejected."""
        with self._path.open("rb") as file:
            while line := file.readline(MAX_LINE):
                if len(line) == MAX_LINE:
                    raise FileRefusedError(f"it has a line of more than {MAX_LINE:,} bytes")
                if not line.strip():
                    continue
                try:
                    document = json.loads(line)
                except (ValueError, RecursionError):
                    document = {}
                yield document if isinstance(document, dict) else {}


def _text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return json.dumps(value) if isinstance(value, list | dict) else repr(value)
