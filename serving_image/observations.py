"""From the JSON that a caller sends to the array that the graph takes, or a refusal that says what is wrong.

The check of a good request walks no element in Python: it goes level by level with functions that loop in C.
Only once it has failed does a second, slow walk find the first offending element and name it.
"""

from collections.abc import Sequence
from itertools import chain, cycle
from math import isfinite
from operator import le
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.policy import Space
from serving_image.refusals import RefusalError, describe

_INTEGER = frozenset({int})
_NUMBER = frozenset({int, float})


class SpaceError(ValueError):
    """`policy.json` describes a space that cannot be served."""


class Observations:
    """Reads observations of one Gymnasium space.

    Box takes numbers in the range of its dtype. Its `low` and `high` are not enforced: wrappers and simulators step
    over them and the policy has been trained on what they gave.
    """

    def __init__(self, space: Space) -> None:
        self.shape = tuple(space["shape"])
        if any(size < 1 for size in self.shape):
            raise SpaceError(f"observation_space.shape: every size must be at least 1 (given: {list(self.shape)})")
        self.dtype = graph_dtype(space)
        if self.dtype.kind == "f" and space["type"] != "Box":
            raise SpaceError(f"dtype: an integer type for {space['type']} (given: {space['dtype']!r})")
        self._floats = self.dtype.kind == "f"
        self._types = _NUMBER if self._floats else _INTEGER
        self._highs = _highest_of_each(space, self.shape)
        self._low, self._high = _bounds(space, self.dtype, self._highs)

    @property
    def expected(self) -> str:
        """One observation in words."""
        kind = "whole numbers" if self._types is _INTEGER else "numbers"
        sizes = " x ".join(map(str, self.shape))
        form = f"a list of {sizes} {kind}" if sizes else f"one of the {kind}"
        return f"{form} from {self._low:g} to {self._high:g}"

    def read(self, values: list[Any], *, single: bool, part: str = "") -> NDArray[Any]:
        """The observations as an array `[batch, *shape]` of the graph's dtype.

        Args:
            values: one JSON value an observation; at least one.
            single: whether it came as `observation`, so that a refusal names that field.
            part: what a refusal adds to the field: the part of a Dict that these are.

        Raises:
            RefusalError: naming the first element that is wrong.
        """
        flat = self.flat(values)
        if flat is None:
            raise self.refusal(values, single=single, part=part)
        return self.array(flat, len(values))

    def flat(self, values: list[Any]) -> list[Any] | None:
        """The elements of all observations one after another, or None when one of them is wrong."""
        level = values
        for size in self.shape:
            if set(map(type, level)) != {list} or set(map(len, level)) != {size}:
                return None
            level = list(chain.from_iterable(level))
        if not (set(map(type, level)) <= self._types and self._low <= min(level) and max(level) <= self._high):
            return None
        if self._floats:  # a NaN, which JSON has not, compares as it likes
            return level if isfinite(sum(level)) else None
        if self._highs and not all(map(le, level, cycle(self._highs))):
            return None
        return level

    def array(self, flat: list[Any], count: int) -> NDArray[Any]:
        """`flat` elements of so many observations as the graph takes them."""
        return np.array(flat, dtype=self.dtype).reshape(count, *self.shape)

    def from_array(self, array: NDArray[Any]) -> tuple[NDArray[Any], bool]:
        """The observations in an array of shape `[*shape]` or `[batch, *shape]`, and whether it is a single one.

        Raises:
            RefusalError: when its shape, its dtype or an element is not the space's.
        """
        single = array.shape == self.shape
        if single:
            array = array[None]
        if array.shape[1:] != self.shape or not len(array) or not array.ndim:
            sizes = ", ".join(map(str, self.shape))
            given, expected = f"shape {list(array.shape)}", f"[{sizes}], or a batch of these, [n, {sizes}]"
            raise RefusalError(400, field="body", given=given, expected=f"shape {expected}".replace(", ]", "]"))
        if array.dtype.kind not in ("fiu" if self._floats else "iu"):
            expected = "numbers" if self._floats else "whole numbers"
            raise RefusalError(400, field="body", given=f"dtype {array.dtype}", expected=expected)
        right = (array >= self._low) & (array <= self._high)  # also false for NaN
        if self._highs:
            right &= array <= np.reshape(self._highs, self.shape)
        if not right.all():
            index = tuple(int(i) for i in np.argwhere(~right)[0])
            place = "".join(f"[{i}]" for i in (index[1:] if single else index))
            high = self._highs[int(np.ravel_multi_index(index[1:], self.shape))] if self._highs else self._high
            kind = "a number" if self._floats else "a whole number"
            expected = f"{kind} from {self._low:g} to {high:g}"
            raise RefusalError(400, field=f"body{place}", given=describe(array[index].item()), expected=expected)
        return np.ascontiguousarray(array, dtype=self.dtype), single

    def refusal(self, values: list[Any], *, single: bool, part: str = "") -> RefusalError:
        """What is wrong with values that `flat` did not take."""
        for index, value in enumerate(values):
            field = ("observation" if single else f"observations[{index}]") + part
            wrong = self._first_wrong(value, field, (), self.shape)
            if wrong is not None:
                return wrong
        raise AssertionError("a request was refused in which nothing is wrong")

    def _first_wrong(
        self, value: Any, field: str, place: tuple[int, ...], inner_shape: Sequence[int]
    ) -> RefusalError | None:
        """The first element that does not fit, in `value` at index `place` of an observation."""
        if inner_shape:
            if not isinstance(value, list) or len(value) != inner_shape[0]:
                expected = f"a list of {inner_shape[0]}; an observation is {self.expected}" if place else self.expected
                return RefusalError(400, field=field, given=describe(value), expected=expected)
            for index, item in enumerate(value):
                wrong = self._first_wrong(item, f"{field}[{index}]", (*place, index), inner_shape[1:])
                if wrong is not None:
                    return wrong
            return None
        high = self._highs[int(np.ravel_multi_index(place, self.shape))] if self._highs else self._high
        if type(value) in self._types and self._low <= value <= high:
            return None
        kind = "a whole number" if self._types is _INTEGER else "a number"
        expected = f"{kind} from {self._low:g} to {high:g}"
        return RefusalError(400, field=field, given=describe(value), expected=expected)


def graph_dtype(space: Space) -> np.dtype[Any]:
    """What the graph uses for a space: float32 for every float, otherwise the space's own integer type.

    Raises:
        SpaceError: the space's dtype is neither.
    """
    try:
        dtype = np.dtype(space["dtype"])
    except TypeError as error:
        raise SpaceError(f"dtype: a NumPy type (given: {space['dtype']!r})") from error
    if dtype.kind == "f":
        return np.dtype(np.float32)
    if dtype.kind in "iu":
        return dtype
    raise SpaceError(f"dtype: a float or integer type (given: {space['dtype']!r})")


def _bounds(space: Space, dtype: np.dtype[Any], highs: list[int]) -> tuple[float, float]:
    """The lowest and the highest number that any element may be."""
    if dtype.kind == "f":
        return float(np.finfo(dtype).min), float(np.finfo(dtype).max)
    least, most = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if space["type"] == "Box":
        return least, most
    if space["type"] == "Discrete":
        start = space.get("start", 0)
        return max(start, least), min(start + space["n"] - 1, most)
    return 0, min(max(highs, default=1), most)


def _highest_of_each(space: Space, shape: tuple[int, ...]) -> list[int]:
    """The highest number of each element, flat, where the elements of a space differ in it; otherwise empty."""
    if space["type"] != "MultiDiscrete":
        return []
    try:
        nvec = np.array(space["nvec"], dtype=np.int64)
    except (TypeError, ValueError, OverflowError) as error:
        raise SpaceError(f"nvec: whole numbers (given: {space['nvec']!r})") from error
    if nvec.shape != shape:
        raise SpaceError(f"nvec: shape {list(shape)}, as the space says (given: {list(nvec.shape)})")
    return [int(n) - 1 for n in nvec.ravel()]
