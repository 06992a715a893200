"""Tabular Q-learning as a Stable-Baselines3 algorithm, so that it is saved, resumed, exported and served like the rest.

The table is the policy's one weight, `[observations, actions]` in double precision.
"""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import MaybeCallback, Schedule
from stable_baselines3.common.utils import LinearSchedule
from stable_baselines3.common.vec_env import VecEnv

STEPS_PER_ROLLOUT = 1000
"""Callbacks are told of a rollout this often; the table itself changes with every step."""


class QTable(BasePolicy):
    """The value of every action in every state; the best one is taken."""

    def __init__(
        self,
        observation_space: spaces.Discrete,
        action_space: spaces.Discrete,
        lr_schedule: Schedule,
        initial_value: float = 0.0,
    ) -> None:
        """`lr_schedule` is not used: it is what every policy of Stable-Baselines3 is given."""
        super().__init__(observation_space, action_space)
        size = (int(observation_space.n), int(action_space.n))
        self.table = torch.nn.Parameter(torch.full(size, initial_value, dtype=torch.float64), requires_grad=False)

    def _predict(self, observation: Any, deterministic: bool = False) -> torch.Tensor:
        assert isinstance(self.observation_space, spaces.Discrete)
        states = observation.long().reshape(-1) - int(self.observation_space.start)
        return self.table[states].argmax(dim=1)


class QLearning(BaseAlgorithm):
    """Watkins (1989), exploring at random with a share that falls linearly."""

    policy: QTable

    def __init__(
        self,
        *,
        gamma: float,
        exploration_fraction: float,
        exploration_initial_eps: float,
        exploration_final_eps: float,
        **arguments: Any,
    ) -> None:
        """`arguments` are those of `BaseAlgorithm`."""
        super().__init__(support_multi_env=True, supported_action_spaces=(spaces.Discrete,), **arguments)
        self.gamma = gamma
        self._exploration = LinearSchedule(exploration_initial_eps, exploration_final_eps, exploration_fraction)
        self._setup_model()

    def _setup_model(self) -> None:
        self._setup_lr_schedule()
        self.set_random_seed(self.seed)
        self.policy = self.policy_class(  # type: ignore[assignment]
            self.observation_space, self.action_space, self.lr_schedule, **self.policy_kwargs
        )

    def learn(
        self,
        total_timesteps: int,
        callback: MaybeCallback = None,
        log_interval: int = 4,
        tb_log_name: str = "run",
        reset_num_timesteps: bool = True,
        progress_bar: bool = False,
    ) -> "QLearning":
        """Learn until `total_timesteps` or until a callback says stop."""
        total, told = self._setup_learn(total_timesteps, callback, reset_num_timesteps, tb_log_name, progress_bar)
        assert self.env is not None
        told.on_training_start(locals(), globals())
        while self.num_timesteps < total:
            told.on_rollout_start()
            if not self._roll_out(self.env, told, min(STEPS_PER_ROLLOUT, total - self.num_timesteps)):
                break
            told.on_rollout_end()
        told.on_training_end()
        return self

    def _roll_out(self, env: VecEnv, callback: BaseCallback, steps: int) -> bool:
        table = self.policy.table.numpy()  # the same memory
        assert isinstance(self.observation_space, spaces.Discrete)
        start = int(self.observation_space.start)
        states = np.asarray(self._last_obs, dtype=np.int64) - start
        for _ in range(-(-steps // env.num_envs)):
            self._update_current_progress_remaining(self.num_timesteps, self._total_timesteps)
            rate = float(self.lr_schedule(self._current_progress_remaining))
            actions = table[states].argmax(axis=1)
            explores = np.random.random(env.num_envs) < self._exploration(self._current_progress_remaining)
            actions[explores] = np.random.randint(table.shape[1], size=int(explores.sum()))
            observations, rewards, dones, infos = env.step(actions)
            self.num_timesteps += env.num_envs
            if not callback.on_step():
                return False
            self._update_info_buffer(infos, dones)
            self._last_obs = observations  # type: ignore[assignment]
            reached = np.asarray(observations, dtype=np.int64) - start
            for copy in range(env.num_envs):  # one after another: two copies may be in the same state
                state, action = states[copy], actions[copy]
                target = float(rewards[copy])
                if not dones[copy]:
                    target += self.gamma * table[reached[copy]].max()
                elif infos[copy].get("TimeLimit.truncated"):  # it would have gone on from there
                    target += self.gamma * table[int(infos[copy]["terminal_observation"]) - start].max()
                table[state, action] += rate * (target - table[state, action])
            self._episode_num += int(dones.sum())
            states = reached
        self._n_updates += 1
        return True

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        return ["policy"], []
