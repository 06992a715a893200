"""Actors of MLP policies as they were at some step, in numpy, several side by side.

Looking at ten policies one after another costs several times as much as looking at them together: what costs is the
number of calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor

from training_image.trainer.fast.adam import Floats
from training_image.trainer.fast.mlp import linear_layers


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Copies of an actor's layers, weights `[outputs, inputs]` and biases, and of the observations' statistics."""

    layers: list[tuple[Floats, Floats]]
    rectified: bool
    statistics: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float] | None
    """Mean, deviation and bound."""


def freeze(model: BaseAlgorithm) -> Actor | None:
    """The actor of a model as it now is; None where it is no MLP that takes numbers and chooses one of n actions."""
    policy: Any = model.policy
    if type(policy) is not ActorCriticPolicy or type(policy.features_extractor) is not FlattenExtractor:
        return None
    if not isinstance(model.observation_space, spaces.Box) or not isinstance(model.action_space, spaces.Discrete):
        return None
    hidden = policy.mlp_extractor.policy_net
    kinds = {type(part) for part in list(hidden)[1::2]}
    if model.action_space.start != 0 or len(kinds) != 1 or not kinds <= {torch.nn.Tanh, torch.nn.ReLU}:
        return None
    layers: list[Any] = [*linear_layers(hidden), policy.action_net]
    normaliser: Any = model.get_vec_normalize_env()
    statistics = None
    if normaliser:
        known = normaliser.obs_rms
        statistics = known.mean.copy(), np.sqrt(known.var + normaliser.epsilon), float(normaliser.clip_obs)
    return Actor(
        layers=[(_copied(layer.weight), _copied(layer.bias)) for layer in layers],
        rectified=kinds == {torch.nn.ReLU},
        statistics=statistics,
    )


def _copied(tensor: torch.Tensor) -> Floats:
    return np.array(tensor.detach().cpu().numpy())


class Actors:
    """Frozen actors of one architecture, side by side."""

    def __init__(self, actors: Sequence[Actor]) -> None:
        self._rectified = actors[0].rectified
        *self._hidden, self._last = (
            (np.stack([weight.T for weight, _ in layer]), np.stack([bias[None] for _, bias in layer]))
            for layer in zip(*(actor.layers for actor in actors), strict=True)
        )
        self._statistics = None
        if known := [actor.statistics for actor in actors if actor.statistics is not None]:
            means, deviations, bounds = zip(*known, strict=True)
            self._statistics = np.stack(means)[:, None], np.stack(deviations)[:, None], bounds[0]

    def act(self, observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Best actions `[actors, batch]` for observations `[actors, batch, numbers]`."""
        if self._statistics is not None:
            mean, deviation, bound = self._statistics
            observations = np.clip((observations - mean) / deviation, -bound, bound)
        inputs: Floats = np.asarray(observations, np.float32)
        for weight, bias in self._hidden:
            inputs = inputs @ weight
            inputs += bias
            if self._rectified:
                np.maximum(inputs, 0, out=inputs)
            else:
                np.tanh(inputs, out=inputs)
        weight, bias = self._last
        scores = inputs @ weight + bias
        if scores.shape[2] == 2:  # argmax along so short an axis takes ten times as long
            return np.asarray(scores[..., 1] > scores[..., 0])
        return np.asarray(scores.argmax(axis=2))
