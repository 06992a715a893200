"""REINFORCE: the plain policy gradient, as a Stable-Baselines3 algorithm.

An update learns from whole episodes: every action is made more likely by the discounted return that followed it, less
what the value network expected there (the baseline). Each copy of the environment plays the same number of episodes
for an update, fixed beforehand: taking whichever end first would favour short ones. A copy that has played its share
waits, and what it is stepped meanwhile is not learnt from.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.utils import obs_as_tensor
from stable_baselines3.common.vec_env import VecEnv

from training_image.trainer.envs import observations as batches
from training_image.trainer.envs.observations import Batch


class Reinforce(OnPolicyAlgorithm):
    """Williams (1992), with a learnt baseline."""

    def __init__(self, *, n_episodes: int, normalize_advantage: bool, **arguments: Any) -> None:
        """`arguments` are those of `OnPolicyAlgorithm`."""
        self.n_episodes = n_episodes
        self.normalize_advantage = normalize_advantage
        self._played: list[_Step] = []
        # Episodes are kept whole in `_played`; the base class's buffer of a fixed number of steps is not used.
        super().__init__(n_steps=1, gae_lambda=1.0, use_sde=False, sde_sample_freq=-1, **arguments)

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Play the episodes of one update; False when a callback stops training."""
        self.policy.set_training_mode(False)
        callback.on_rollout_start()
        assert self._last_obs is not None
        self._played = []
        episodes: list[list[_Step]] = [[] for _ in range(env.num_envs)]
        wanted = np.full(env.num_envs, self.n_episodes)
        if not self._last_episode_starts.all():  # type: ignore[union-attr]
            # A copy may be in the middle of an episode that it played while it waited.
            self._last_obs = env.reset()  # type: ignore[assignment]
        while wanted.any():
            observations = self._last_obs
            assert observations is not None
            with torch.no_grad():
                actions = self.policy(obs_as_tensor(observations, self.device))[0].cpu().numpy()
            taken = actions
            if isinstance(self.action_space, spaces.Box):
                taken = np.clip(actions, self.action_space.low, self.action_space.high)
            self._last_obs, rewards, dones, infos = env.step(taken)  # type: ignore[assignment]
            self._last_episode_starts = dones
            self.num_timesteps += env.num_envs
            callback.update_locals(locals())
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            for copy in np.flatnonzero(wanted):
                step = _Step(batches.take(observations, copy), actions[copy].copy(), float(rewards[copy]))
                episodes[copy].append(step)
                if dones[copy]:
                    self._end(episodes[copy], infos[copy])
                    episodes[copy] = []
                    wanted[copy] -= 1
        callback.on_rollout_end()
        return True

    def train(self) -> None:
        """One step of the optimiser on the episodes just played."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        observations = obs_as_tensor(batches.stacked([step.observation for step in self._played]), self.device)
        actions = self._tensor(np.stack([step.action for step in self._played]))
        returns = self._tensor(np.array([step.outcome for step in self._played], dtype=np.float32))
        values, log_probability, entropy = self.policy.evaluate_actions(observations, actions)
        values = values.flatten()
        advantages = returns - values.detach()
        if self.normalize_advantage and len(advantages) > 1:
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        policy_loss = -(advantages * log_probability).mean()
        value_loss = torch.nn.functional.mse_loss(values, returns)
        entropy_loss = log_probability.mean() if entropy is None else -entropy.mean()
        loss = policy_loss + self.ent_coef * entropy_loss + self.vf_coef * value_loss
        self.policy.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        self._n_updates += 1
        for name, value in (("policy", policy_loss), ("value", value_loss), ("entropy", entropy_loss)):
            self.logger.record(f"train/{name}_loss", value.item())

    def _end(self, episode: "list[_Step]", info: dict[str, Any]) -> None:
        """Fill in the returns of an episode. One that only ran out of time would have gone on: the value network says
        what with."""
        outcome = 0.0
        if info.get("TimeLimit.truncated"):
            with torch.no_grad():
                last, _ = self.policy.obs_to_tensor(info["terminal_observation"])
                outcome = float(self.policy.predict_values(last)[0])
        for step in reversed(episode):
            outcome = step.reward + self.gamma * outcome
            step.outcome = outcome
        self._played += episode

    def _tensor(self, array: npt.NDArray[Any]) -> torch.Tensor:
        return torch.as_tensor(array, device=self.device)


class _Step:
    """What was seen and done, and what came of it."""

    __slots__ = ("action", "observation", "outcome", "reward")

    def __init__(self, observation: Batch, action: npt.NDArray[Any], reward: float) -> None:
        self.observation = observation
        self.action = action
        self.reward = reward
        self.outcome = 0.0
