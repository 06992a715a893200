"""PPO whose rollouts and updates run in numpy. Everything else is Stable-Baselines3's."""

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.utils import explained_variance
from stable_baselines3.common.vec_env import VecEnv

from training_image.trainer.fast.actions import Actions, actions_of
from training_image.trainer.fast.adam import FlatAdam, Floats, unsupported_optimiser
from training_image.trainer.fast.mlp import linear_layers
from training_image.trainer.fast.model import FastModel, chosen, flat, unsupported_observations
from training_image.trainer.fast.network import Network


def ppo(*, fast: bool = True, **arguments: Any) -> PPO:
    """A model with these arguments of `PPO`: if `fast`, then on the fast path where that gives the same numbers."""
    return chosen(FastPPO, PPO, unsupported, fast=fast, arguments=arguments)


def unsupported(model: PPO) -> str | None:
    """Why a model must be trained by Stable-Baselines3's own class; None if the fast path gives the same numbers."""
    policy, acts = model.policy, model.action_space
    if type(policy) is not ActorCriticPolicy:
        return f"its policy is a {type(policy).__name__}"
    if why := unsupported_observations(model):
        return why
    if type(policy.features_extractor) is not FlattenExtractor or not policy.share_features_extractor:
        return "its network has a features extractor"
    if not (isinstance(acts, spaces.Box) or (isinstance(acts, spaces.Discrete) and acts.start == 0)):
        return f"its actions are {acts}"
    if model.use_sde or policy.squash_output:
        return "it explores by state-dependent noise"
    if model.clip_range_vf is not None or model.target_kl is not None:
        return "clip_range_vf or target_kl is set"
    if model.device.type != "cpu":
        return f"it is on the device {model.device}"
    if type(model.rollout_buffer) is not RolloutBuffer:
        return f"its rollout buffer is a {type(model.rollout_buffer).__name__}"
    return _unsupported_network(policy) or unsupported_optimiser(policy.optimizer)


class FastPPO(FastModel, PPO):
    """PPO of a model that `unsupported` has nothing against.

    Weights, Adam's state, buffers, callbacks, saving and loading are those of Stable-Baselines3. Updates from the same
    rollout are the same to within the rounding of single precision; actions are drawn by numpy's generator instead of
    torch's, so a run has another course than one of Stable-Baselines3's class with the same seed.
    """

    _network: Network | None = None
    _actions: Actions

    def _forget_memory(self) -> None:
        self._network = None

    def _excluded_save_params(self) -> list[str]:
        return [*super()._excluded_save_params(), "_network", "_actions"]

    def _bound(self) -> Network:
        """The network, sharing the memory of torch's."""
        if self._network is None:
            self._network = Network(self.policy)
            self._actions = actions_of(self.action_space, self._network)
        return self._network

    def _adam(self) -> FlatAdam:
        return self._bound().adam

    def _best(self, observations: Floats) -> npt.NDArray[Any]:
        scores = self._bound().scores(observations)
        return self._actions.best(scores)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Fill the buffer with one rollout; False if a callback ends it early."""
        rollout_buffer.reset()
        callback.on_rollout_start()
        network, copies = self._bound(), env.num_envs  # after the callback, which may have set parameters
        noise = self._actions.noise(n_rollout_steps, copies)
        scores = np.empty((network.score_count, n_rollout_steps, copies), np.float32)
        actions: list[npt.NDArray[Any]] = []
        cut: list[tuple[int, Any, npt.NDArray[Any]]] = []
        assert isinstance(self._last_obs, np.ndarray)
        dones = self._last_episode_starts
        for step in range(n_rollout_steps):
            rollout_buffer.observations[step] = self._last_obs
            rollout_buffer.episode_starts[step] = self._last_episode_starts
            scores[:, step] = network.scores(flat(rollout_buffer.observations[step]))
            taken, drawn = self._actions.draw(scores[:, step], noise[step])
            actions.append(drawn)
            new_obs, rewards, dones, infos = env.step(taken)
            self.num_timesteps += copies
            callback.update_locals({"rewards": rewards, "dones": dones, "infos": infos})
            if not callback.on_step():
                return False
            if dones.any():
                self._update_info_buffer(infos, dones)
                cut += [(step, copy, last) for copy in np.flatnonzero(dones) if (last := _cut(infos[copy])) is not None]
            rollout_buffer.rewards[step] = rewards
            self._last_obs, self._last_episode_starts = new_obs, dones  # type: ignore[assignment]
        self._complete(rollout_buffer, scores, actions, cut)
        assert dones is not None
        last_values = torch.from_numpy(network.values(flat(self._last_obs)))
        rollout_buffer.compute_returns_and_advantage(last_values=last_values, dones=dones)
        callback.update_locals(locals())
        callback.on_rollout_end()
        return True

    def _complete(self, buffer: RolloutBuffer, scores: Floats, actions: list[Any], cut: list[Any]) -> None:
        """What needs no step of the environment is computed for the whole rollout at once."""
        network, taken = self._bound(), np.stack(actions)
        shape = taken.shape[:2]
        buffer.actions[:] = taken.reshape(buffer.actions.shape)
        log_probs = self._actions.log_probs(scores.reshape(len(scores), -1), taken.reshape(-1, *taken.shape[2:]))
        buffer.log_probs[:] = log_probs.reshape(shape)
        observations = buffer.observations.reshape(shape[0] * shape[1], -1)
        buffer.values[:] = network.values(flat(observations)).reshape(shape)
        if cut:  # of what would have followed where only a time limit ended the episode, the value is known
            steps, copies, last = zip(*cut, strict=True)
            buffer.rewards[steps, copies] += self.gamma * network.values(flat(np.stack(last)))
        buffer.pos, buffer.full = shape[0], True

    def train(self) -> None:
        """Update the weights from the buffer, as `PPO.train` does."""
        network = self._bound()
        self._update_learning_rate(self.policy.optimizer)
        clip_range = self.clip_range(self._current_progress_remaining)  # type: ignore[operator]
        buffer = self.rollout_buffer
        observations = flat(RolloutBuffer.swap_and_flatten(buffer.observations))
        actions = self._actions.kept(RolloutBuffer.swap_and_flatten(buffer.actions))
        numbers = np.stack(
            [buffer.swap_and_flatten(a)[:, 0] for a in (buffer.log_probs, buffer.advantages, buffer.returns)]
        )
        losses = _Losses(len(observations), self.batch_size, clip_range)
        # Numbers that overflow are found by whoever watches losses and weights; numpy need not warn of them too.
        with np.errstate(all="ignore"):
            for _ in range(self.n_epochs):
                order = np.random.permutation(len(observations))
                shuffled = observations[order], actions[order], numbers[:, order]
                for start in range(0, len(order), self.batch_size):
                    part = slice(start, start + self.batch_size)
                    sample = shuffled[0][part], shuffled[1][part], *shuffled[2][:, part]
                    self._learn(network, sample, part, losses)
                losses.end_epoch()
                self._n_updates += 1
            network.adam.count_updates()
            self._record(losses)

    def _learn(self, network: Network, sample: tuple[Any, ...], part: slice, losses: "_Losses") -> None:
        """One minibatch: observations, actions, log-probabilities of old, advantages and returns."""
        observations, actions, old_log_probs, advantages, returns = sample
        count, clip_range = len(observations), losses.clip_range
        if self.normalize_advantage and count > 1:
            advantages = advantages - advantages.mean()
            advantages /= np.float32(math.sqrt(float(advantages @ advantages) / (count - 1)) + 1e-8)
        scores, values = network.forward(observations)
        log_ratio = self._actions.log_probs(scores, actions) - old_log_probs
        ratio = np.exp(log_ratio)
        clipped = np.minimum(np.maximum(ratio, np.float32(1 - clip_range)), np.float32(1 + clip_range))
        free = advantages * ratio
        surrogate = np.minimum(free, advantages * clipped)
        d_log_probs = free * (free <= surrogate)  # where clipping decides, the loss does not depend on the policy
        d_log_probs *= np.float32(-1 / count)
        error = values - returns
        d_values = error * np.float32(2 * self.vf_coef / count)
        network.backward(self._actions.gradient(d_log_probs, -self.ent_coef / count), d_values)
        losses.add(part, surrogate, error, ratio, log_ratio, self._actions.entropy())
        network.adam.step(self.max_grad_norm)

    def _record(self, losses: "_Losses") -> None:
        """The names and meanings of `PPO.train`."""
        policy, value, entropy, kl, clipped = losses.means()
        buffer = self.rollout_buffer
        measured = {
            "entropy_loss": -entropy,
            "policy_gradient_loss": policy,
            "value_loss": value,
            "approx_kl": kl,
            "clip_fraction": clipped,
            "loss": policy - self.ent_coef * entropy + self.vf_coef * value,
            "explained_variance": explained_variance(buffer.values.flatten(), buffer.returns.flatten()),
            "clip_range": losses.clip_range,
        }
        if (log_std := self._bound().weights.log_std) is not None:
            measured["std"] = float(np.exp(log_std).mean())
        for name, value in measured.items():
            self.logger.record(f"train/{name}", value)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")


class _Losses:
    """What was measured of every sample, averaged once an epoch: minibatch by minibatch would cost more calls."""

    def __init__(self, samples: int, batch_size: int, clip_range: float) -> None:
        self.clip_range = clip_range
        self._samples = np.empty((4, samples), np.float32)
        self._starts = np.arange(0, samples, batch_size)
        self._counts = np.diff(self._starts, append=samples)
        self._entropies: list[float] = []
        self._epochs: list[npt.NDArray[np.float64]] = []

    def add(
        self, part: slice, surrogate: Floats, error: Floats, ratio: Floats, log_ratio: Floats, entropy: float
    ) -> None:
        """One minibatch."""
        self._samples[0, part] = surrogate
        self._samples[1, part] = error
        self._samples[2, part] = ratio
        self._samples[3, part] = log_ratio
        self._entropies.append(entropy)

    def end_epoch(self) -> None:
        """Average the samples of each minibatch, and those averages, as Stable-Baselines3 does."""
        surrogate, error, ratio, log_ratio = self._samples
        ratio -= 1
        values = np.array((-surrogate, error * error, ratio - log_ratio, np.abs(ratio) > self.clip_range))
        minibatches = np.add.reduceat(values, self._starts, axis=1, dtype=np.float64) / self._counts
        self._epochs.append(minibatches.mean(axis=1))

    def means(self) -> tuple[float, float, float, float, float]:
        """Policy loss, value loss, entropy and clip fraction over all epochs; the divergence of the last one."""
        policy, value, _, clipped = (float(mean) for mean in np.mean(self._epochs, axis=0))
        return policy, value, float(np.mean(self._entropies)), float(self._epochs[-1][2]), clipped


def _cut(info: dict[str, Any]) -> npt.NDArray[Any] | None:
    """The last observation of an episode that only a time limit ended."""
    return info.get("terminal_observation") if info.get("TimeLimit.truncated", False) else None


def _unsupported_network(policy: ActorCriticPolicy) -> str | None:
    actor, critic = policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net
    widths = [[(layer.in_features, layer.out_features) for layer in linear_layers(net)] for net in (actor, critic)]
    if not widths[0] or widths[0] != widths[1]:
        return "actor and critic do not have the same hidden layers"
    kinds = {type(layer) for net in (actor, critic) for layer in list(net)[1::2]}
    if len(kinds) != 1 or not kinds <= {torch.nn.Tanh, torch.nn.ReLU} or len(list(actor)) != 2 * len(widths[0]):
        return "its activation is neither tanh nor ReLU"
    if type(policy.action_net) is not torch.nn.Linear or policy.action_net.bias is None:
        return f"its action layer is a {type(policy.action_net).__name__}"
    return None
