"""What is written: Parquet files of a bounded size, each with its hash, and the rows that could not be used."""

from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from contract.dataset import MAX_EXAMPLES, Example, OutputFile, Reason
from training_image.dataset.episodes import INTERNAL
from training_image.dataset.inputs import sha256

PART_BYTES = 2**26
"""Of rows in memory, about; compressed it is less."""
MAX_VALUES = 1000
"""Characters of a rejected row that are kept."""
MAX_SHOWN = 200
HELD_ROWS = 2**17
"""Rejected rows that wait in memory."""

_REJECTED = {"file": pl.String, "row": pl.UInt32, "reason": pl.String, "values": pl.String}


class PartWriter:
    """Writes rows into `part-00000.parquet`, `part-00001.parquet`, ... of a folder below `root`.

    A thread writes one file while the rows of the next are gathered. It shows them to `look` first, file by file.
    """

    def __init__(self, root: Path, folder: str, look: Callable[[pl.DataFrame], None] = lambda _: None) -> None:
        self._look = look
        self._root = root
        self._folder = folder
        self._frames: list[pl.DataFrame] = []
        self._rows = 0
        self._rows_a_part: int | None = None
        self._writing = ThreadPoolExecutor(1)
        self._files: list[Future[OutputFile]] = []
        (root / folder).mkdir(parents=True, exist_ok=True)

    def add(self, frame: pl.DataFrame) -> None:
        """Take more rows."""
        if frame.is_empty():
            return
        if self._rows_a_part is None:
            width = sum(dtype_bytes(dtype) for dtype in frame.dtypes)
            self._rows_a_part = max(1, PART_BYTES // width)
        self._frames.append(frame)
        self._rows += len(frame)
        while self._rows >= self._rows_a_part:
            self._write(self._rows_a_part)

    def finish(self) -> list[OutputFile]:
        """Write what is left; the files in their order."""
        if self._rows:
            self._write(self._rows)
        files = [file.result() for file in self._files]
        self._writing.shutdown()
        return files

    def _write(self, rows: int) -> None:
        frame = pl.concat(self._frames)
        self._frames = [frame.slice(rows)] if len(frame) > rows else []
        self._rows = len(frame) - rows
        if self._files:
            self._files[-1].result()  # no more than one waits in memory
        path = f"{self._folder}/part-{len(self._files):05d}.parquet"
        self._files.append(self._writing.submit(self._written, frame.head(rows), path))

    def _written(self, frame: pl.DataFrame, path: str) -> OutputFile:
        self._look(frame)
        write_parquet(frame, self._root / path)
        return described(self._root, path, len(frame))


class Rejects:
    """The rows that could not be used: counted by reason, with examples, and all of them kept in a file."""

    def __init__(self, root: Path, path: str, scratch: Path) -> None:
        self.rows = 0
        self.by_file: dict[str, int] = {}
        self._reasons: dict[str, _Tally] = {}
        self._root, self._path, self._scratch = root, path, scratch
        self._frames: list[pl.DataFrame] = []
        self._held = 0
        self._spilled: list[Path] = []

    def add(self, files: pl.Series, numbers: pl.Series, reasons: pl.Series, rows: pl.DataFrame) -> None:
        """Take rejected rows: the file and the number of each, why, and the row itself."""
        shown = rows.select(pl.exclude(INTERNAL)).with_columns(pl.col(pl.String).str.head(MAX_VALUES))
        values = shown.select(pl.struct(pl.all()).struct.json_encode().str.head(MAX_VALUES)).to_series()
        frame = pl.DataFrame({"file": files, "row": numbers, "reason": reasons, "values": values}, schema=_REJECTED)
        self.rows += len(frame)
        for file, count in _counts(frame, "file"):
            self.by_file[file] = self.by_file.get(file, 0) + count
        for reason, count in _counts(frame, "reason"):
            tally = self._reasons.setdefault(reason, _Tally())
            if len(tally.examples) < MAX_EXAMPLES:
                few = frame.filter(pl.col("reason") == reason).head(MAX_EXAMPLES - len(tally.examples))
                tally.examples += [
                    Example(file=row["file"], row=row["row"], values=row["values"][:MAX_SHOWN])
                    for row in few.iter_rows(named=True)
                ]
            tally.rows += count
        self._frames.append(frame)
        self._held += len(frame)
        if self._held >= HELD_ROWS:
            self._spill()

    def reasons(self) -> list[Reason]:
        """The commonest first."""
        ranked = sorted(self._reasons.items(), key=lambda item: (-item[1].rows, item[0]))
        return [Reason(reason=reason, rows=tally.rows, examples=tally.examples) for reason, tally in ranked]

    def finish(self) -> OutputFile | None:
        """Write them all into one file, in the order they came; None when there are none."""
        if not self.rows:
            return None
        target = self._root / self._path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._spill()
        pl.scan_parquet(self._spilled, glob=False).sink_parquet(
            target, compression="zstd", compression_level=3, row_group_size=HELD_ROWS, maintain_order=True
        )
        return described(self._root, self._path, self.rows)

    def _spill(self) -> None:
        if self._frames:
            self._scratch.mkdir(parents=True, exist_ok=True)
            path = self._scratch / f"rejected-{len(self._spilled):05d}.parquet"
            write_parquet(pl.concat(self._frames), path)
            self._spilled.append(path)
            self._frames, self._held = [], 0


@dataclass
class _Tally:
    rows: int = 0
    examples: list[Example] = field(default_factory=list)


def write_parquet(frame: pl.DataFrame, path: Path) -> None:
    """The same rows give the same bytes. Ranges are in dataset.json: who reads rows reads all of them."""
    frame.write_parquet(path, compression="zstd", compression_level=1, row_group_size=2**19, statistics=False)


def described(root: Path, path: str, rows: int) -> OutputFile:
    """A written file, with its hash."""
    return OutputFile(path=path, rows=rows, bytes=(root / path).stat().st_size, sha256=sha256(root / path))


def dtype_bytes(dtype: pl.DataType) -> int:
    """About how many bytes a value takes in memory."""
    sizes = {pl.Float32: 4, pl.Int32: 4, pl.UInt32: 4, pl.Int8: 1, pl.Boolean: 1, pl.String: 24}
    return sizes.get(type(dtype), 8)


def _counts(frame: pl.DataFrame, column: str) -> Iterable[tuple[str, int]]:
    counted = frame.group_by(column, maintain_order=True).len()
    return [(str(name), int(count)) for name, count in counted.iter_rows()]
