"""Which environments the training image has, known without installing Gymnasium.

`catalogue.json` is written from the training image's own registry by `make catalogue`; a test holds the two
equal. So the prepare step refuses an unknown environment in milliseconds, and a run file can never choose code
to import.
"""

import difflib
import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

PLAIN = ("Box", "Discrete", "MultiBinary", "MultiDiscrete")
"""Class names of the spaces that are no composition of others."""


class CatalogueSpace(BaseModel):
    """A Gymnasium space, as far as choosing an algorithm needs it."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    type: str = Field(description="Class name of the Gymnasium space.")
    shape: list[int] | None = Field(default=None, description="Shape, where the space has one.")
    dtype: str | None = None
    spaces: "dict[str, CatalogueSpace] | None" = Field(default=None, description="The parts of a Dict.")

    @property
    def kind(self) -> str:
        """The class name; of a Dict that no algorithm can learn from, the reason too."""
        for key, part in self.parts.items():
            if self.type == "Dict" and part.type not in PLAIN:
                return f"Dict with {part.type}"
            if "." in key:  # torch names a part of the network by it
                return f"Dict with the key {key!r}"
        return self.type

    @property
    def parts(self) -> "dict[str, CatalogueSpace]":
        """The parts of a Dict, or the space itself by an empty key."""
        return {"": self} if self.spaces is None else self.spaces

    @property
    def is_picture(self) -> bool:
        """Whether a plain space is one of pictures: bytes, with a height, a width and colours."""
        return self.type == "Box" and self.dtype == "uint8" and self.shape is not None and len(self.shape) == 3


class Variant(BaseModel):
    """An environment whose spaces are other ones because of an argument."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    kwargs: dict[str, bool]
    observation_space: CatalogueSpace
    action_space: CatalogueSpace


ColumnType = Literal["number", "integer", "boolean", "text"]


class Environment(BaseModel):
    """One registered environment of the training image."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    observation_space: CatalogueSpace
    action_space: CatalogueSpace
    max_episode_steps: int | None
    reward_threshold: float | None = Field(description="Gymnasium's threshold for solved; the default min_return.")
    max_return: float | None = Field(description="The most an episode can return, where that is known.")
    kwargs: list[str] = Field(description="What the environment's constructor takes.")
    says_valid_actions: bool = Field(
        default=False, description="Whether it says which actions are valid, as maskable-ppo needs it."
    )
    variants: list[Variant] = Field(default=[], description="What some arguments make of it.")

    def with_kwargs(self, kwargs: Mapping[str, object]) -> Self:
        """The environment as it is with these arguments."""
        for variant in self.variants:
            if variant.kwargs.items() <= kwargs.items():
                spaces = {"observation_space": variant.observation_space, "action_space": variant.action_space}
                return self.model_copy(update=spaces)
        return self

    table: dict[str, ColumnType] | None = Field(
        default=None, description="Columns of the table that it replays, and what they hold; null where it has none."
    )

    @property
    def has_image_observations(self) -> bool:
        """Whether observations are pictures, so that a convolutional policy and a GPU pay."""
        return any(part.is_picture for part in self.observation_space.parts.values())


class Catalogue(BaseModel):
    """All environments, by their Gymnasium id."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    format: Annotated[Literal[1], Field(description="Version of this document's shape.")]
    gymnasium: str = Field(description="The Gymnasium version the catalogue was read from.")
    environments: dict[str, Environment]

    def close_to(self, environment_id: str) -> list[str]:
        """Up to five known ids that somebody may have meant."""
        folded = {known.lower(): known for known in self.environments}
        close = difflib.get_close_matches(environment_id.lower(), list(folded), n=5, cutoff=0.5)
        return [folded[known] for known in close]


@cache
def load_catalogue() -> Catalogue:
    """The catalogue that ships with this version of the project."""
    text = files("contract").joinpath("catalogue.json").read_text(encoding="utf-8")
    return Catalogue.model_validate(json.loads(text))
