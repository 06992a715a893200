"""Learning of values of actions from remembered transitions: what DQN and QR-DQN have in common."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.torch_layers import FlattenExtractor

from training_image.trainer.fast.adam import FlatAdam, Floats, unsupported_optimiser
from training_image.trainer.fast.mlp import Layers, Mlp, cut, shared_layers, unsupported_mlp
from training_image.trainer.fast.model import FastModel, flat, unsupported_observations

_AT_ONCE = 2048
"""Transitions whose targets are computed together: the target network rests while the other one learns."""


@dataclass(frozen=True, kw_only=True)
class _Memory:
    """Networks on memory that torch's share."""

    adam: FlatAdam
    online: Mlp
    target: Mlp
    gradients: Layers


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """Drawn from a replay buffer, and normalised where training is; `goes_on` is 0 where an episode ended by itself."""

    observations: Floats
    actions: npt.NDArray[np.int64]
    rewards: Floats
    next_observations: Floats
    goes_on: Floats


def networks_of(policy: Any) -> tuple[torch.nn.Sequential, torch.nn.Sequential]:
    """The layers of the network that is trained, and of the one that gives the targets."""
    if hasattr(policy, "quantile_net"):
        return policy.quantile_net.quantile_net, policy.quantile_net_target.quantile_net
    return policy.q_net.q_net, policy.q_net_target.q_net


def unsupported(model: OffPolicyAlgorithm) -> str | None:
    """Why a model must be trained by the library's own class; None if the fast path gives the same numbers."""
    policy: Any = model.policy
    acts, buffer = model.action_space, model.replay_buffer
    if type(policy).__name__ not in ("DQNPolicy", "QRDQNPolicy"):
        return f"its policy is a {type(policy).__name__}"
    if why := unsupported_observations(model):
        return why
    if policy.features_extractor_class is not FlattenExtractor:
        return "its network has a features extractor"
    if not isinstance(acts, spaces.Discrete) or acts.start != 0:
        return f"its actions are {acts}"
    if model.device.type != "cpu":
        return f"it is on the device {model.device}"
    if type(buffer) is not ReplayBuffer or buffer.optimize_memory_usage:
        return "its replay buffer is not the plain one"
    return unsupported_mlp(networks_of(policy)[0]) or unsupported_optimiser(policy.optimizer)


class FastValues(FastModel, OffPolicyAlgorithm):
    """DQN or QR-DQN of a model that `unsupported` has nothing against.

    Weights, Adam's state, the replay buffer, exploration, callbacks, saving and loading are those of the library's
    class. It draws the same transitions, and updates from them are the same to within the rounding of single precision.
    """

    _memory: _Memory | None = None
    exploration_rate: float

    def _forget_memory(self) -> None:
        self._memory = None

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_memory"]

    def _bound(self) -> _Memory:
        if self._memory is None:
            trained, target = networks_of(self.policy)
            adam = FlatAdam(list(trained.parameters()), self.policy.optimizer)
            layers = shared_layers(trained)
            rectified = any(isinstance(part, torch.nn.ReLU) for part in trained)
            self._memory = _Memory(
                adam=adam,
                online=Mlp(layers, rectified=rectified),
                target=Mlp(shared_layers(target), rectified=rectified),
                gradients=cut(adam.gradient, layers),
            )
        return self._memory

    def _adam(self) -> FlatAdam:
        return self._bound().adam

    def predict(
        self, observation: Any, state: Any = None, episode_start: Any = None, deterministic: bool = False
    ) -> tuple[npt.NDArray[Any], Any]:
        """Actions for observations as the network takes them; random ones at the rate of exploration."""
        assert self.observation_space.shape is not None
        if not isinstance(observation, np.ndarray) or observation.ndim != len(self.observation_space.shape) + 1:
            return super().predict(observation, state, episode_start, deterministic)
        if not deterministic and np.random.rand() < self.exploration_rate:
            return np.array([self.action_space.sample() for _ in observation]), state
        return self._best(flat(observation)), state

    def _best(self, observations: Floats) -> npt.NDArray[Any]:
        return np.asarray(self._values(self._bound().online.outputs(observations)).argmax(axis=1))

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """Update the weights from transitions of the replay buffer, as the library's class does."""
        memory, losses = self._bound(), []
        self._update_learning_rate(self.policy.optimizer)
        each = max(1, _AT_ONCE // batch_size)
        # Numbers that overflow are found by whoever watches losses and weights; numpy need not warn of them too.
        with np.errstate(all="ignore"):
            for begun in range(0, gradient_steps, each):
                updates = min(each, gradient_steps - begun)
                drawn = self._draw(updates, batch_size)
                outputs = memory.target.forward(drawn.next_observations)
                targets = self._targets(outputs, drawn.rewards, drawn.goes_on)
                for start in range(0, updates * batch_size, batch_size):
                    part = slice(start, start + batch_size)
                    outputs = memory.online.forward(drawn.observations[part])
                    loss, d_outputs = self._loss(outputs, drawn.actions[part], targets[part])
                    memory.online.backward(d_outputs, memory.gradients)
                    memory.adam.step(self.max_grad_norm)  # type: ignore[attr-defined]  # both classes have it
                    losses.append(loss)
        memory.adam.count_updates()
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", np.mean(losses))

    def _draw(self, updates: int, batch_size: int) -> Transitions:
        """Transitions for so many updates, the same as `ReplayBuffer.sample` draws for one after another."""
        buffer, env = self.replay_buffer, self._vec_normalize_env
        assert buffer is not None
        filled = buffer.buffer_size if buffer.full else buffer.pos
        drawn = [
            (np.random.randint(0, filled, size=batch_size), np.random.randint(0, buffer.n_envs, size=batch_size))
            for _ in range(updates)
        ]
        rows, copies = (np.concatenate(part) for part in zip(*drawn, strict=True))
        over = buffer.dones[rows, copies] * (1 - buffer.timeouts[rows, copies])
        return Transitions(
            observations=flat(buffer._normalize_obs(buffer.observations[rows, copies], env)),
            actions=buffer.actions[rows, copies, 0].astype(np.int64),
            rewards=np.asarray(buffer._normalize_reward(buffer.rewards[rows, copies], env), np.float32),
            next_observations=flat(buffer._normalize_obs(buffer.next_observations[rows, copies], env)),
            goes_on=np.asarray(1 - over, np.float32),
        )

    def _values(self, outputs: Floats) -> Floats:
        """The value of each action `[batch, actions]`, by the network's outputs."""
        raise NotImplementedError

    def _targets(self, outputs: Floats, rewards: Floats, goes_on: Floats) -> Floats:
        """What the outputs for the actions taken should be, by the target network's for what came next."""
        raise NotImplementedError

    def _loss(self, outputs: Floats, actions: npt.NDArray[np.int64], targets: Floats) -> tuple[float, Floats]:
        """The loss of a batch, and its gradient by the network's outputs."""
        raise NotImplementedError
