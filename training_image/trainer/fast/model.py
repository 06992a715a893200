"""What the rest of the trainer may ask of any model on the fast path."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm

from training_image.trainer.envs.observations import Batch
from training_image.trainer.fast.adam import FlatAdam, Floats

M = TypeVar("M", bound=BaseAlgorithm)


class FastModel(BaseAlgorithm):
    """A model of Stable-Baselines3 whose arithmetic is numpy's."""

    def set_parameters(self, *args: Any, **kwargs: Any) -> None:
        super().set_parameters(*args, **kwargs)
        self._forget_memory()  # the optimiser has new tensors now, which share nothing with ours

    @property
    def is_finite(self) -> bool:
        """Whether every weight that is trained is a finite number."""
        return bool(np.isfinite(self._adam().weights).all())

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        """Deterministic actions for observations as the environment gives them, normalised here if training is."""
        if normaliser := self.get_vec_normalize_env():
            observations = normaliser.normalize_obs(observations)
        return self._best(flat(observations))

    def _adam(self) -> FlatAdam:
        """The weights, sharing the memory of torch's."""
        raise NotImplementedError

    def _forget_memory(self) -> None:
        """Share memory anew when it is next used."""
        raise NotImplementedError

    def _best(self, observations: Floats) -> npt.NDArray[Any]:
        """The best actions for observations `[batch, numbers]` as the network takes them."""
        raise NotImplementedError


def chosen(
    quick: type[M], own: type[M], unsupported: Callable[[M], str | None], *, fast: bool, arguments: dict[str, Any]
) -> M:
    """A model of the class on the fast path, if `fast` and where `unsupported` has nothing against it; else of the
    library's own class."""
    if fast:
        model = quick(**arguments)
        if unsupported(model) is None:
            return model
    return own(**arguments)


def unsupported_observations(model: BaseAlgorithm) -> str | None:
    """Why a model's observations are none that networks in numpy take."""
    observed = model.observation_space
    if not isinstance(observed, spaces.Box) or observed.dtype not in (np.float32, np.float64):
        return f"its observations are no floating-point numbers but {observed}"
    return None


def flat(observations: Any) -> Floats:
    """Observations `[batch, *shape]` as `[batch, numbers]` in single precision."""
    array = np.asarray(observations, np.float32)
    return array.reshape(len(array), -1)
