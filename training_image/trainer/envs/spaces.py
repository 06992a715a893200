"""Gymnasium spaces to JSON and back, in the form of `contract.policy`."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces

from contract.catalogue import CatalogueSpace
from contract.policy import ObservationSpace, Space
from contract.run import EnvironmentSection


def summarise(space: spaces.Space[Any]) -> CatalogueSpace:
    """A space of any kind, as far as choosing an algorithm needs it."""
    return CatalogueSpace(
        type=type(space).__name__,
        shape=None if space.shape is None else list(space.shape),
        dtype=None if space.dtype is None else str(space.dtype),
        spaces={str(key): summarise(part) for key, part in space.items()} if isinstance(space, spaces.Dict) else None,
    )


def describe_observed(space: spaces.Space[Any]) -> ObservationSpace:
    """An observation space as JSON.

    Raises:
        ValueError: for a space that policies are not served for.
    """
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {str(key): describe(part) for key, part in space.spaces.items()}}
    return describe(space)


def build_observed(document: ObservationSpace) -> spaces.Space[Any]:
    """The space that `describe_observed` described."""
    if document["type"] == "Dict":
        # As pairs: of a mapping Gymnasium would sort the keys.
        return spaces.Dict([(key, build(part)) for key, part in document["spaces"].items()])
    return build(document)


def describe(space: spaces.Space[Any]) -> Space:
    """A space as JSON.

    Raises:
        ValueError: for a space that policies are not served for.
    """
    if isinstance(space, spaces.Box):
        return Space(
            type="Box",
            shape=list(space.shape),
            dtype=str(space.dtype),
            low=_bounds(space.low),
            high=_bounds(space.high),
        )
    if isinstance(space, spaces.Discrete):
        return Space(type="Discrete", shape=[], dtype=str(space.dtype), n=int(space.n), start=int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        return Space(
            type="MultiDiscrete", shape=list(space.shape), dtype=str(space.dtype), nvec=[int(n) for n in space.nvec]
        )
    if isinstance(space, spaces.MultiBinary):
        return Space(type="MultiBinary", shape=list(space.shape), dtype=str(space.dtype))
    raise ValueError(f"a {type(space).__name__} space cannot be served; Box, Discrete, MultiDiscrete, MultiBinary can")


def build(document: Space) -> spaces.Space[Any]:
    """The space that `describe` described."""
    if document["type"] == "Box":
        low, high = _unbounded(document["low"], -np.inf), _unbounded(document["high"], np.inf)
        dtype: np.dtype[Any] = np.dtype(document["dtype"])
        return spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype.type)
    if document["type"] == "Discrete":
        return spaces.Discrete(document["n"], start=document["start"])
    if document["type"] == "MultiDiscrete":
        return spaces.MultiDiscrete(document["nvec"])
    shape = document["shape"]
    return spaces.MultiBinary(shape[0] if len(shape) == 1 else shape)  # they differ, and policies want the number


def logged(of: EnvironmentSection) -> tuple[spaces.Space[Any], spaces.Space[Any]]:
    """The observation and action space that a run file gives where there is only a log."""
    assert of.observation_space is not None
    assert of.action_space is not None
    return build(of.observation_space.document), build(of.action_space.document)


def _bounds(values: npt.NDArray[Any]) -> Any:
    """Nested lists, an infinite bound as None."""
    finite = [value if math.isfinite(value) else None for value in values.ravel().tolist()]
    return np.array(finite, dtype=object).reshape(values.shape).tolist()


def _unbounded(values: Any, infinity: float) -> npt.NDArray[np.float64]:
    """The inverse of `_bounds`: numpy reads None as not a number."""
    array = np.array(values, dtype=np.float64)
    return np.where(np.isnan(array), infinity, array)
