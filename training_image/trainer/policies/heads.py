"""What a policy of each kind says of an observation, before an action is chosen.

Stable-Baselines3's policies differ in what they call their parts; here they are told apart by those.
"""

from typing import Any, Protocol

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import StateDependentNoiseDistribution
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import Tensor

from training_image.trainer.envs.observations import Tensors


class Head(Protocol):
    """From observations, as the network takes them, to scores `[batch, n]`."""

    squashes: bool
    """Whether the scores are actions between -1 and 1, to be stretched over the action space."""
    draws: bool
    """Whether the policy has a distribution to draw actions from."""

    def scores(self, observation: Tensors, noise: Tensor | None = None) -> Tensor:
        """Logits or values of a choice, or the means of a Box action; of an action that is drawn, where `noise`
        `[batch, n]` says how."""
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


def drawn(policy: Any, latent: Tensor, noise: Tensor | None) -> Tensor:
    """Scores of an actor that ends in `action_net`. With standard normal noise a mean becomes an action of its
    Gaussian; the best of logits with standard Gumbel noise is a choice of their distribution (Gumbel's trick)."""
    scores: Tensor = policy.action_net(latent)
    if noise is None:
        return scores
    if isinstance(policy.action_space, spaces.Box):
        return scores + noise * _deviation(policy.action_dist, scores, policy.log_std, latent)
    return scores + noise


def _deviation(distribution: Any, means: Tensor, log_std: Tensor, latent: Tensor) -> Tensor:
    """Standard deviations `[batch, n]`, as the distribution itself has them."""
    if isinstance(distribution, StateDependentNoiseDistribution):
        found: Tensor = distribution.proba_distribution(means, log_std, latent).distribution.stddev
        return found
    return torch.exp(log_std)


class _OfPolicy:
    squashes = False
    draws = False

    def __init__(self, policy: Any) -> None:
        self._policy = policy


class _ActorCritic(_OfPolicy):
    """PPO, A2C and REINFORCE: logits, or means."""

    draws = True

    def scores(self, observation: Tensors, noise: Tensor | None = None) -> Tensor:
        policy = self._policy
        features = BasePolicy.extract_features(policy, observation, policy.pi_features_extractor)
        return drawn(policy, policy.mlp_extractor.forward_actor(features), noise)


class _QNetwork(_OfPolicy):
    """DQN: the value of each action."""

    def scores(self, observation: Tensors, noise: Tensor | None = None) -> Tensor:
        values: Tensor = self._policy.q_net(observation)
        return values


class _Quantiles(_OfPolicy):
    """QR-DQN: the mean over the quantiles of each action's value."""

    def scores(self, observation: Tensors, noise: Tensor | None = None) -> Tensor:
        values: Tensor = self._policy.quantile_net(observation).mean(dim=1)
        return values


class _Actor(_OfPolicy):
    """SAC, TQC and TD3: an action between -1 and 1. The first two have a distribution, whose mean it is."""

    squashes = True

    def __init__(self, policy: Any) -> None:
        super().__init__(policy)
        self.draws = hasattr(policy.actor, "latent_pi")

    def scores(self, observation: Tensors, noise: Tensor | None = None) -> Tensor:
        actor = self._policy.actor
        features = actor.extract_features(observation, actor.features_extractor)
        if not self.draws:
            action: Tensor = actor.mu(features)  # TD3's network ends in a tanh
            return action
        latent = actor.latent_pi(features)
        mean: Tensor = actor.mu(latent)
        if noise is not None:
            bounds = LOG_STD_MIN, LOG_STD_MAX
            log_std = actor.log_std if actor.use_sde else torch.clamp(actor.log_std(latent), *bounds)
            mean = mean + noise * _deviation(actor.action_dist, mean, log_std, latent)
        return torch.tanh(mean)


class _Table(_OfPolicy):
    """Q-learning: the row of the observation."""

    def scores(self, observation: Tensors, noise: Tensor | None = None) -> Tensor:
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
