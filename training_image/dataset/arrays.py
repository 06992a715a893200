"""Files of arrays: NumPy's npz, and Minari's HDF5."""

import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from training_image.dataset.errors import FileRefusedError
from training_image.dataset.fields import ALIASES, Field, Origin
from training_image.dataset.source import HEAD, check_expansion, rows_at_once, short

MOST_BY_COLUMNS = 2**28
"""Bytes of an array that must be turned round in memory, as Pandas and Polars save them."""

_PER_EPISODE = "episode"


class NpzSource:
    """Arrays of one row a step. They are read through their zip members, a few rows at a time, and never unpickled."""

    format = "npz"

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.repairs: list[str] = []
        self._path = path
        try:
            self._zip = zipfile.ZipFile(path)
            self._members = {
                info.filename.removesuffix(".npy"): self._header(info)
                for info in self._zip.infolist()
                if info.filename.endswith(".npy")
            }
        except FileRefusedError:
            raise
        except Exception as error:
            raise FileRefusedError(f"it is no readable npz file: {short(error)}") from error

    def columns(self) -> Mapping[str, Any]:
        return {name: _type(shape[1:], dtype) for name, (shape, dtype) in self._members.items() if shape}

    def estimated_rows(self) -> int:
        return max((shape[0] for shape, _ in self._members.values() if shape), default=0)

    def head(self, column: str) -> pl.Series:
        count = min(HEAD, self._members[column][0][0])
        return _series(self._rows(self._open(column), column, count))

    def batches(self, fields: Sequence[Field], origins: Mapping[str, Origin]) -> Iterator[pl.DataFrame]:
        names = list(dict.fromkeys(origin.column for origin in origins.values()))
        lengths = {name: self._members[name][0][0] for name in names}
        if len(set(lengths.values())) > 1:
            said = ", ".join(f"{name} {length:,}" for name, length in lengths.items())
            raise FileRefusedError(f"its arrays differ in length: {said}")
        total, most = next(iter(lengths.values())), rows_at_once(len(fields))
        try:
            opened = {name: self._open(name) for name in names}
            for first in range(0, total, most):
                count = min(most, total - first)
                yield pl.DataFrame({name: _series(self._rows(opened[name], name, count)) for name in names})
        except FileRefusedError:
            raise
        except Exception as error:
            raise FileRefusedError(f"it cannot be read to its end: {short(error)}") from error

    def _header(self, info: zipfile.ZipInfo) -> tuple[tuple[int, ...], np.dtype[Any]]:
        with self._zip.open(info) as member:
            shape, dtype, by_columns = _read_header(member)
        if dtype.hasobject:
            raise FileRefusedError(f"{info.filename} holds pickled objects, which are never loaded")
        check_expansion(info.compress_size, int(np.prod(shape)) * dtype.itemsize, f"{info.filename} claims")
        if by_columns and int(np.prod(shape)) * dtype.itemsize > MOST_BY_COLUMNS:
            raise FileRefusedError(f"{info.filename} is too large to be stored by columns; use numpy.ascontiguousarray")
        return shape, dtype

    def _open(self, name: str) -> IO[bytes]:
        """The rows' bytes, one row after another."""
        member = self._zip.open(f"{name}.npy")
        shape, dtype, by_columns = _read_header(member)
        if not by_columns:
            return member
        columns = np.frombuffer(member.read(), dtype=dtype)
        if columns.size < np.prod(shape):
            raise FileRefusedError(f"{name} ends before its last row")
        return io.BytesIO(columns[: int(np.prod(shape))].reshape(shape, order="F").tobytes(order="C"))

    def _rows(self, member: IO[bytes], name: str, count: int) -> npt.NDArray[Any]:
        shape, dtype = self._members[name]
        size = count * int(np.prod(shape[1:])) * dtype.itemsize
        data = member.read(size)
        if len(data) < size:
            raise FileRefusedError(f"{name} ends before its last row")
        return np.frombuffer(data, dtype=dtype).reshape((count, *shape[1:]))


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    """Shape, type, and whether an array of several dimensions is stored by columns."""
    try:
        version = np.lib.format.read_magic(member)
        reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = reader(member)
    except (ValueError, zlib.error, zipfile.BadZipFile) as error:
        raise FileRefusedError(f"it is no readable npz file: {short(error)}") from error
    return shape, dtype, fortran and len(shape) > 1


class HdfSource:
    """Minari's HDF5: a group an episode, with one observation more than steps.

    https://minari.farama.org/content/dataset_standards/
    """

    format = "hdf5"

    def __init__(self, name: str, path: Path) -> None:
        import h5py  # type: ignore[import-untyped]

        self.name = name
        self.repairs: list[str] = []
        self._path = path
        try:
            self._file = h5py.File(path, "r")
            groups = [key for key in self._file if isinstance(self._file[key], h5py.Group)]
            # Through the names that Minari gives: episode_10 comes after episode_9.
            self._groups = sorted(groups, key=lambda key: (len(key), key))
        except Exception as error:
            raise FileRefusedError(f"it is no readable HDF5 file: {short(error)}") from error
        if not self._groups:
            raise FileRefusedError("it has no groups episode_0, episode_1, ...")

    def columns(self) -> Mapping[str, Any]:
        columns: dict[str, Any] = {_PER_EPISODE: pl.Int64()}
        for root in ("observation", "action", "reward", "terminated", "truncated"):
            for name in ALIASES[root]:
                found = self._file[self._groups[0]].get(name)
                if found is not None and hasattr(found, "dtype"):
                    columns[name] = _type(found.shape[1:], found.dtype)
        lengths = {len(self._file[self._groups[0]][name]) for name in columns if name != _PER_EPISODE}
        if len(lengths) == 2:  # one observation more than steps: the one after the last
            observed = next(name for name in ALIASES["observation"] if name in columns)
            columns["next_observation"] = columns[observed]
        return columns

    def estimated_rows(self) -> int:
        first = self._file[self._groups[0]]
        return len(self._groups) * max((len(first[name]) for name in first if hasattr(first[name], "shape")), default=0)

    def head(self, column: str) -> pl.Series:
        if column == _PER_EPISODE:
            return pl.Series([0])
        return _series(self._file[self._groups[0]][column][:HEAD])

    def batches(self, fields: Sequence[Field], origins: Mapping[str, Origin]) -> Iterator[pl.DataFrame]:
        names = list(dict.fromkeys(origin.column for origin in origins.values()))
        most = rows_at_once(len(fields))
        waiting: list[pl.DataFrame] = []
        try:
            for number, group in enumerate(self._groups):
                for frame in self._episode(self._file[group], group, number, names, most):
                    waiting.append(frame)
                    if sum(map(len, waiting)) >= most:
                        yield pl.concat(waiting)
                        waiting = []
        except FileRefusedError:
            raise
        except Exception as error:
            raise FileRefusedError(f"it cannot be read to its end: {short(error)}") from error
        if waiting:
            yield pl.concat(waiting)

    def _episode(self, group: Any, key: str, number: int, names: list[str], most: int) -> Iterator[pl.DataFrame]:
        observed = next((name for name in ALIASES["observation"] if name in group), None)
        stored = {
            name: group[observed if name == "next_observation" else name] for name in names if name != _PER_EPISODE
        }
        for name, dataset in stored.items():
            check_expansion(max(dataset.id.get_storage_size(), 1), int(dataset.nbytes), f"{key}/{name} claims")
        steps = {name: len(d) for name, d in stored.items() if name not in (observed, "next_observation")}
        if len(set(steps.values())) != 1:
            raise FileRefusedError(f"the arrays of {key} differ in length")
        total = next(iter(steps.values()))
        if observed in stored and len(stored[observed]) != total + ("next_observation" in stored):
            raise FileRefusedError(f"{key} has {len(stored[observed]):,} observations of {total:,} steps")
        for first in range(0, total, most):
            end = min(first + most, total)
            columns = {_PER_EPISODE: pl.Series([number]).new_from_index(0, end - first)}
            for name, dataset in stored.items():
                later = int(name == "next_observation")
                columns[name] = _series(dataset[first + later : end + later])
            yield pl.DataFrame({name: columns[name] for name in names})


def _type(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    if dtype.kind not in "biuf":
        return pl.String()
    return pl.List(pl.Float64()) if int(np.prod(shape)) != 1 or shape else pl.Float64()


def _series(rows: npt.NDArray[Any]) -> pl.Series:
    if rows.dtype.kind not in "biuf":
        return pl.Series(rows.astype(str).tolist(), dtype=pl.String)
    rows = rows.astype(rows.dtype.newbyteorder("="), copy=False)
    if rows.dtype == np.float16:
        rows = rows.astype(np.float32)
    if rows.ndim == 1:
        return pl.Series(rows)
    return pl.Series(rows.reshape(len(rows), -1))
