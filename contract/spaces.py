"""Gymnasium's spaces in a run file, where there is no environment to ask; written as in `policy.json`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contract.catalogue import CatalogueSpace
from contract.policy import Space

MAX_LOGGED_NUMBERS = 4096
"""Numbers of an observation or action in logged experience; each is a column."""

_RANGES = {"uint8": (0, 2**8 - 1), "int32": (-(2**31), 2**31 - 1)}

Size = Annotated[int, Field(ge=1, le=2**16)]
Shape = Annotated[list[Size], Field(min_length=1, max_length=4)]
Bound = float | list[float | None]


class _LoggedSpace(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)

    @property
    def document(self) -> Space:
        """The space as `policy.json` has it."""
        raise NotImplementedError

    @property
    def summary(self) -> CatalogueSpace:
        """The space as the catalogue of environments has it."""
        document = self.document
        return CatalogueSpace(type=document["type"], shape=document["shape"], dtype=document["dtype"])


class BoxSpace(_LoggedSpace):
    """Numbers."""

    type: Literal["Box"] = Field(description="Numbers.")
    shape: Shape = Field(description="How many there are along each dimension.")
    dtype: Literal["float32", "float64", "uint8", "int32", "int64"] = Field(
        default="float32", description="What they are; whole ones need both bounds."
    )
    low: Bound | None = Field(
        default=None,
        description="The smallest values: one number for all of them, or a list with one for each in the order of the "
        "flattened shape; null has no bound.",
    )
    high: Bound | None = Field(default=None, description="The largest values, likewise.")

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if math.prod(self.shape) > MAX_LOGGED_NUMBERS:
            raise ValueError(f"a shape of at most {MAX_LOGGED_NUMBERS:,} numbers")
        for name in ("low", "high"):
            given = getattr(self, name)
            if isinstance(given, list) and len(given) != math.prod(self.shape):
                raise ValueError(f"{name} with {math.prod(self.shape):,} numbers, or one for all (it has {len(given)})")
        if not self.dtype.startswith("float") and not self.is_bounded:
            raise ValueError(f"low and high, which {self.dtype} needs")
        least, most = _RANGES.get(self.dtype, (-math.inf, math.inf))
        if any(not least <= bound <= most for bounds in self._bounds for bound in bounds if bound is not None):
            raise ValueError(f"low and high that {self.dtype} can hold, {least:g} to {most:g}")
        if any(low > high for low, high in zip(*self._bounds, strict=True) if low is not None and high is not None):
            raise ValueError("low that is at most high")
        return self

    @property
    def is_bounded(self) -> bool:
        """Whether every number has both bounds."""
        return all(bound is not None for bounds in self._bounds for bound in bounds)

    @property
    def document(self) -> Space:
        low, high = (_nested(bounds, self.shape) for bounds in self._bounds)
        return Space(type="Box", shape=self.shape, dtype=self.dtype, low=low, high=high)

    @property
    def _bounds(self) -> tuple[list[float | None], list[float | None]]:
        size = math.prod(self.shape)
        low, high = (given if isinstance(given, list) else [given] * size for given in (self.low, self.high))
        return low, high


class DiscreteSpace(_LoggedSpace):
    """One of several choices."""

    type: Literal["Discrete"] = Field(description="One of several choices.")
    n: Size = Field(description="How many there are.")
    start: int = Field(default=0, description="The first one.")

    @property
    def document(self) -> Space:
        return Space(type="Discrete", shape=[], dtype="int64", n=self.n, start=self.start)


class MultiDiscreteSpace(_LoggedSpace):
    """Several choices at once."""

    type: Literal["MultiDiscrete"] = Field(description="Several choices at once.")
    nvec: Annotated[list[Size], Field(min_length=1, max_length=MAX_LOGGED_NUMBERS)] = Field(
        description="Of how many each one is."
    )

    @property
    def document(self) -> Space:
        return Space(type="MultiDiscrete", shape=[len(self.nvec)], dtype="int64", nvec=self.nvec)


class MultiBinarySpace(_LoggedSpace):
    """Yes or no, several times."""

    type: Literal["MultiBinary"] = Field(description="Yes or no, several times.")
    shape: Shape = Field(description="How often along each dimension.")

    @property
    def document(self) -> Space:
        return Space(type="MultiBinary", shape=self.shape, dtype="int8")


SPACES = (BoxSpace, DiscreteSpace, MultiDiscreteSpace, MultiBinarySpace)
LoggedSpace = Annotated[BoxSpace | DiscreteSpace | MultiDiscreteSpace | MultiBinarySpace, Field(discriminator="type")]


def _nested(values: list[float | None], shape: list[int]) -> Any:
    """A flat list in the form of a shape."""
    if len(shape) == 1:
        return values
    size = len(values) // shape[0]
    return [_nested(values[first : first + size], shape[1:]) for first in range(0, len(values), size)]
