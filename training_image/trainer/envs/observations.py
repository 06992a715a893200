"""Batches of observations: an array `[batch, *shape]`, or for a Dict space one of these for each key."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from torch import Tensor

from contract.policy import OBSERVATION_INPUT, observation_input

Array = npt.NDArray[Any]
Batch = Array | dict[str, Array]
Tensors = Tensor | dict[str, Tensor]


def parts(space: spaces.Space[Any]) -> dict[str | None, spaces.Space[Any]]:
    """The plain spaces in an observation space: those of a Dict by their keys, or the space itself by None."""
    if isinstance(space, spaces.Dict):
        return {key: part for key, part in space.spaces.items()}  # noqa: C416 - None may be a key of what is returned
    return {None: space}


def each(function: Callable[..., Array], *batches: Batch) -> Batch:
    """What a function makes of the arrays of one or several batches, part by part."""
    first, *others = batches
    if isinstance(first, dict):
        return {key: function(array, *(other[key] for other in others)) for key, array in first.items()}
    return function(*batches)


def size(batch: Batch) -> int:
    """How many observations there are."""
    return len(_one(batch))


def take(batch: Batch, chosen: Any) -> Batch:
    """Some of the observations, chosen as numpy chooses rows."""
    return each(lambda array: array[chosen], batch)


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch after another."""
    return each(lambda *arrays: np.concatenate(arrays), *batches)


def stacked(observations: Sequence[Batch]) -> Batch:
    """Single observations as a batch."""
    return each(lambda *arrays: np.stack(arrays), *observations)


def rows(batch: Batch) -> list[Any]:
    """Each observation as JSON has it."""
    if isinstance(batch, dict):
        columns = [array.tolist() for array in batch.values()]
        return [dict(zip(batch, row, strict=True)) for row in zip(*columns, strict=True)]
    listed: list[Any] = batch.tolist()
    return listed


def row_bytes(batch: Batch) -> int:
    """Memory of one observation."""
    arrays = batch.values() if isinstance(batch, dict) else [batch]
    return sum(array[0].nbytes for array in arrays)


def tensors(batch: Batch) -> Tensors:
    """The same memory as torch sees it."""
    if isinstance(batch, dict):
        return {key: torch.as_tensor(array) for key, array in batch.items()}
    return torch.as_tensor(batch)


def inputs(batch: Batch) -> dict[str, Array]:
    """The arrays by the names of the exported graph's inputs."""
    if isinstance(batch, dict):
        return {observation_input(key): array for key, array in batch.items()}
    return {OBSERVATION_INPUT: batch}


def as_input(observations: Any, space: spaces.Space[Any]) -> Batch:
    """What an environment gave, as a policy takes it."""
    if isinstance(space, spaces.Dict):
        return {key: as_input(observations[key], part) for key, part in space.spaces.items()}  # type: ignore[misc]
    return np.asarray(observations).astype(input_dtype(space), copy=False)


def input_dtype(space: spaces.Space[Any]) -> np.dtype[Any]:
    """What plain observations are given as: floats in single precision, everything else as the space has it."""
    dtype = np.dtype(space.dtype)
    return np.dtype(np.float32) if dtype.kind == "f" else dtype


def _one(batch: Any) -> Any:
    return next(iter(batch.values())) if isinstance(batch, dict) else batch
