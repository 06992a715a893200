"""Gymnasium spaces to JSON and back, in the form of `contract.policy.Space`."""

from typing import Any

import numpy as np
from gymnasium import spaces

from contract.policy import Space


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
            type="MultiDiscrete", shape=list(space.shape), dtype=str(space.dtype), nvec=np.asarray(space.nvec).tolist()
        )
    if isinstance(space, spaces.MultiBinary):
        return Space(type="MultiBinary", shape=list(space.shape), dtype=str(space.dtype))
    raise ValueError(f"a {type(space).__name__} space cannot be served; Box, Discrete, MultiDiscrete, MultiBinary can")


def build(document: Space) -> spaces.Space[Any]:
    """The space that `describe` described."""
    if document["type"] == "Box":
        low, high = (_unbounded(document[side], sign) for side, sign in (("low", -1), ("high", 1)))  # type: ignore[literal-required]
        dtype = np.dtype(document["dtype"])
        return spaces.Box(low.astype(dtype), high.astype(dtype), dtype=dtype.type)
    if document["type"] == "Discrete":
        return spaces.Discrete(document["n"], start=document["start"])
    if document["type"] == "MultiDiscrete":
        return spaces.MultiDiscrete(document["nvec"])
    return spaces.MultiBinary(document["shape"])


def _bounds(values: Any) -> Any:
    """Nested lists, an infinite bound as None."""
    if np.all(np.isfinite(values)):
        return values.tolist()
    return np.where(np.isfinite(values), values.astype(object), None).tolist()


def _unbounded(values: Any, sign: int) -> Any:
    array = np.array(values, dtype=object)
    return np.where(np.equal(array, None), sign * np.inf, array).astype(np.float64)
