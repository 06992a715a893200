"""Gymnasium's natively vectorised environments as Stable-Baselines3 environments.

A native environment steps all its copies in one numpy expression, which costs less than stepping one copy in
Python. Gymnasium's reset a finished copy in the step after (`AutoresetMode.NEXT_STEP`): taken as it is, that would put
a step without meaning into the rollout. Here a finished copy is reset in the same step, as Stable-Baselines3
expects, and its last observation goes into `terminal_observation`.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvObs, VecEnvStepReturn

Restart = Callable[[Any, npt.NDArray[np.intp]], npt.NDArray[np.float32]]


def _restart_cartpole(environment: Any, finished: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Start new episodes in the finished copies; returns their first observations."""
    environment.state[:, finished] = environment.np_random.uniform(
        low=environment.low, high=environment.high, size=(4, len(finished))
    )
    environment.steps[finished] = 0
    environment.prev_done[finished] = False
    return np.asarray(environment.state[:, finished].T, dtype=np.float32)


_RESTART: dict[type, Restart] = {CartPoleVectorEnv: _restart_cartpole}


class NativeVecEnv(VecEnv):
    """A native Gymnasium environment of `num_envs` copies, with what Monitor would tell of its episodes."""

    def __init__(self, environment: Any) -> None:
        """`environment` is an unwrapped Gymnasium vector environment of a class that is known here."""
        self._environment = environment
        self._restart = _RESTART[type(environment)]
        self._seed: int | None = None
        self._started = time.time()
        self.render_mode = None
        super().__init__(environment.num_envs, environment.single_observation_space, environment.single_action_space)

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Seed all copies together, from the next reset on."""
        self._seed = seed
        return [seed] * self.num_envs

    def reset(self) -> VecEnvObs:
        """First observations of new episodes in all copies."""
        observations, _ = self._environment.reset(seed=self._seed)
        self._seed = None
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, dtype=np.int64)
        return np.asarray(observations)

    def step_async(self, actions: npt.NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(self) -> VecEnvStepReturn:
        observations, rewards, terminated, truncated, _ = self._environment.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        dones = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        if dones.any():
            finished = np.flatnonzero(dones)
            for copy in finished:
                infos[copy] = {
                    "terminal_observation": observations[copy].copy(),
                    "TimeLimit.truncated": bool(truncated[copy] and not terminated[copy]),
                    "episode": {
                        "r": float(self._returns[copy]),
                        "l": int(self._lengths[copy]),
                        "t": round(time.time() - self._started, 6),
                    },
                }
            observations[finished] = self._restart(self._environment, finished)
            self._returns[finished] = 0
            self._lengths[finished] = 0
        return observations, rewards, dones, infos

    def close(self) -> None:
        self._environment.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        return [getattr(self._environment, attr_name)] * len(self._chosen(indices))

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        raise NotImplementedError("the copies of a native environment share their attributes")

    def env_method(self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any) -> list[Any]:
        raise NotImplementedError("the copies of a native environment are not objects of their own")

    def env_is_wrapped(self, wrapper_class: type[Any], indices: Any = None) -> list[bool]:
        return [False] * len(self._chosen(indices))

    def _chosen(self, indices: Any) -> list[int]:
        chosen: Iterable[int] = self._get_indices(indices)
        return list(chosen)


def native(environment_id: str, kwargs: dict[str, Any], copies: int) -> NativeVecEnv | None:
    """The natively vectorised form of an environment, or None when Gymnasium has none that is known here."""
    entry_point = gymnasium.spec(environment_id).vector_entry_point
    if entry_point is None or entry_point not in {f"{known.__module__}:{known.__qualname__}" for known in _RESTART}:
        return None
    made = gymnasium.make_vec(environment_id, copies, vectorization_mode="vector_entry_point", **kwargs)
    return NativeVecEnv(made.unwrapped)
