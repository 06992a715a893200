"""What a row must have: one field a number, from the environment's spaces or the columns that it declares."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np
import polars as pl
from gymnasium import spaces

from contract.catalogue import ColumnType
from training_image.dataset.errors import FileRefusedError

Kind = Literal["number", "integer", "boolean", "text", "id", "time"]

ALIASES = {
    "episode": ("episode", "episode_id"),
    "step": ("step",),
    "time": ("time", "timestamp"),
    "observation": ("observation", "observations"),
    "action": ("action", "actions"),
    "reward": ("reward", "rewards"),
    "terminated": ("terminated", "terminations", "terminals", "terminal"),
    "truncated": ("truncated", "truncations", "timeouts", "timeout"),
    "next_observation": ("next_observation", "next_observations"),
}
"""Names that columns have in Gymnasium's, Minari's and D4RL's logs. `done` is none: it says not which of the two."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """One column of prepared rows."""

    name: str
    kind: Kind
    dtype: Any = pl.Float64
    low: float | None = None
    high: float | None = None
    nullable: bool = False
    root: str = ""
    """What it is a part of: `observation` of `observation_3`."""
    index: int | None = None
    """Which number of the root it is; None where the root is a single one."""


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a file has a field: a column, or one element of a column of lists."""

    column: str
    element: int | None = None
    length: int = 0
    """Of the lists."""


def space_fields(root: str, space: gymnasium.Space[Any], *, nullable: bool = False) -> list[Field]:
    """The fields of a space, in the order of its flattened elements."""
    if isinstance(space, spaces.Discrete):
        low, high = int(space.start), int(space.start + space.n - 1)
        return [Field(name=root, root=root, kind="integer", dtype=pl.Int64, low=low, high=high, nullable=nullable)]
    if isinstance(space, spaces.MultiDiscrete):
        starts = np.ravel(space.start)
        lows, highs = starts, starts + np.ravel(space.nvec) - 1
        dtype: Any = pl.Int64
        kind: Kind = "integer"
    elif isinstance(space, spaces.MultiBinary):
        size = int(np.prod(space.shape))
        lows, highs = np.zeros(size), np.ones(size)
        dtype, kind = pl.Int64, "integer"
    elif isinstance(space, spaces.Box):
        lows, highs = space.low.ravel(), space.high.ravel()
        whole = np.issubdtype(space.dtype, np.integer)
        kind = "integer" if whole else "number"
        dtype = pl.Int64 if whole else pl.Float64 if space.dtype == np.float64 else pl.Float32
    else:
        raise ValueError(f"{type(space).__name__} cannot be logged")
    return [
        Field(
            name=f"{root}_{index}",
            root=root,
            index=index,
            kind=kind,
            dtype=dtype,
            low=float(low) if np.isfinite(low) else None,
            high=float(high) if np.isfinite(high) else None,
            nullable=nullable,
        )
        for index, (low, high) in enumerate(zip(lows, highs, strict=True))
    ]


def transition_fields(
    observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any], *, timed: bool
) -> list[Field]:
    """The fields of logged experience. `timed` when it is split by time."""
    bounds_do_not_matter = [
        Field(name=f.name, root=f.root, index=f.index, kind=f.kind, dtype=f.dtype, nullable=True)
        for f in space_fields("next_observation", observation_space)
    ]
    return [
        Field(name="episode", root="episode", kind="id", dtype=pl.Int64),
        Field(name="step", root="step", kind="integer", dtype=pl.Int64, low=0),
        *([Field(name="time", root="time", kind="time")] if timed else []),
        *space_fields("observation", observation_space),
        *space_fields("action", action_space),
        Field(name="reward", root="reward", kind="number", dtype=pl.Float64),
        Field(name="terminated", root="terminated", kind="boolean", dtype=pl.Boolean),
        Field(name="truncated", root="truncated", kind="boolean", dtype=pl.Boolean),
        *bounds_do_not_matter,
    ]


def table_fields(columns: Mapping[str, ColumnType]) -> list[Field]:
    """The fields of a table: its time and what the environment declares."""
    dtypes = {"number": pl.Float64, "integer": pl.Int64, "boolean": pl.Boolean, "text": pl.String}
    return [
        Field(name="time", root="time", kind="time"),
        *(Field(name=name, root=name, kind=kind, dtype=dtypes[kind]) for name, kind in columns.items()),
    ]


OPTIONAL = ("episode", "step", "truncated", "next_observation")
"""Roots of fields that a file may lack: they are numbered, false, or unknown then."""


def resolve(
    available: Mapping[str, Any], fields: Sequence[Field], names: Mapping[str, str | list[str]]
) -> dict[str, Origin]:
    """Where a file has each field.

    :param available: the file's columns and their Polars types.
    :param names: `data.columns` of the run file.

    Raises:
        FileRefusedError: it lacks some.
    """
    origins: dict[str, Origin] = {}
    lacking: list[str] = []
    for root in dict.fromkeys(field.root for field in fields):
        of_root = [field for field in fields if field.root == root]
        found = _root_origins(root, of_root, available, names.get(root))
        if found is None and (root not in OPTIONAL or root in names):
            lacking.append(_wanted(root, of_root, names.get(root)))
        origins.update(found or {})
    if lacking:
        raise FileRefusedError(f"it lacks {', '.join(lacking)}; it has {_listed(list(available))}")
    return origins


def _root_origins(
    root: str, fields: Sequence[Field], available: Mapping[str, Any], named: str | list[str] | None
) -> dict[str, Origin] | None:
    if isinstance(named, list):
        if len(named) != len(fields) or any(name not in available for name in named):
            return None
        return {field.name: Origin(column=name) for field, name in zip(fields, named, strict=True)}
    for name in (named,) if named else ALIASES.get(root, (root,)):
        if name in available:
            single = fields[0].index is None or (len(fields) == 1 and not _holds_lists(available[name]))
            if single:
                return {fields[0].name: Origin(column=name)} if len(fields) == 1 else None
            return {f.name: Origin(column=name, element=f.index, length=len(fields)) for f in fields}
        for form in ("{}_{}", "{}.{}", "{}[{}]"):
            if len(fields) > 0 and fields[0].index is not None and form.format(name, 0) in available:
                columns = [form.format(name, field.index) for field in fields]
                if any(column not in available for column in columns) or form.format(name, len(fields)) in available:
                    return None
                return {field.name: Origin(column=column) for field, column in zip(fields, columns, strict=True)}
    return None


def _holds_lists(dtype: Any) -> bool:
    return isinstance(dtype, pl.List | pl.Array)


def _wanted(root: str, fields: Sequence[Field], named: str | list[str] | None) -> str:
    if isinstance(named, list):
        return f"{root} ({len(fields)} numbers, as {_listed(named)})"
    name = named or root
    if fields[0].index is None:
        return name
    return f"{name} (a list of {len(fields)} numbers, or {name}_0 to {name}_{len(fields) - 1})"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) if re.search(r"[^\w.\[\]-]", name) else name for name in names[:20])
    return (shown + (f" and {len(names) - 20} more" if len(names) > 20 else "")) or "no columns"
