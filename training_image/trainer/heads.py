"""What a policy of each kind says of an observation, before an action is chosen.

Stable-Baselines3's policies differ in what they call their parts; here they are told apart by those.
"""

from typing import Any, Protocol

import torch
from stable_baselines3.common.policies import BasePolicy
from torch import Tensor

from training_image.trainer.observations import Tensors


class Head(Protocol):
    """From observations, as the network takes them, to scores `[batch, n]`."""

    squashes: bool
    """Whether the scores are actions between -1 and 1, to be stretched over the action space."""

    def scores(self, observation: Tensors) -> Tensor:
        """Logits or values of a choice, or the means of a Box action."""
        ...


def head_of(policy: BasePolicy) -> Head:
    """The head that understands a policy.

    Raises:
        TypeError: when none does.
    """
    for part, head in _HEADS.items():
        if hasattr(policy, part):
            found: Head = head(policy)
            return found
    raise TypeError(f"a {type(policy).__name__} has none of the parts {', '.join(_HEADS)}")


class _OfPolicy:
    squashes = False

    def __init__(self, policy: Any) -> None:
        self._policy = policy


class _ActorCritic(_OfPolicy):
    """PPO, A2C and REINFORCE: logits, or means."""

    def scores(self, observation: Tensors) -> Tensor:
        policy = self._policy
        features = BasePolicy.extract_features(policy, observation, policy.pi_features_extractor)
        scores: Tensor = policy.action_net(policy.mlp_extractor.forward_actor(features))
        return scores


class _QNetwork(_OfPolicy):
    """DQN: the value of each action."""

    def scores(self, observation: Tensors) -> Tensor:
        values: Tensor = self._policy.q_net(observation)
        return values


class _Quantiles(_OfPolicy):
    """QR-DQN: the mean over the quantiles of each action's value."""

    def scores(self, observation: Tensors) -> Tensor:
        values: Tensor = self._policy.quantile_net(observation).mean(dim=1)
        return values


class _Actor(_OfPolicy):
    """SAC, TQC and TD3: an action between -1 and 1. The first two have a distribution, whose mean it is."""

    squashes = True

    def scores(self, observation: Tensors) -> Tensor:
        actor = self._policy.actor
        features = actor.extract_features(observation, actor.features_extractor)
        mean: Tensor = actor.mu(actor.latent_pi(features)) if hasattr(actor, "latent_pi") else actor.mu(features)
        return torch.tanh(mean) if hasattr(actor, "latent_pi") else mean  # TD3's network ends in one


class _Table(_OfPolicy):
    """Q-learning: the row of the observation."""

    def scores(self, observation: Tensors) -> Tensor:
        space = self._policy.observation_space
        assert isinstance(observation, Tensor)
        values: Tensor = self._policy.table[observation.long() - int(space.start)]
        return values


_HEADS: dict[str, Any] = {  # by the part that only this kind of policy has
    "quantile_net": _Quantiles,
    "q_net": _QNetwork,
    "actor": _Actor,
    "table": _Table,
    "action_net": _ActorCritic,
}
