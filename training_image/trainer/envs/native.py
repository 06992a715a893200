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

from training_image.environments.battery import BatteryVector
from training_image.environments.inventory import InventoryVector

Step = Callable[[Any, npt.NDArray[Any]], tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], Any, Any]]
Restart = Callable[[Any, npt.NDArray[np.intp]], npt.NDArray[np.float32]]


def _step_cartpole(
    environment: Any, actions: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """One step of all copies: observations, rewards, terminated, truncated.

    The arithmetic is Gymnasium's, in the same order, so the numbers are too. What is left out takes half of its time:
    a check of every action, and the resets of the next step.
    """
    before = environment.state
    _, x_dot, theta, theta_dot = before
    force = np.where(actions == 1, environment.force_mag, -environment.force_mag)
    cosine, sine = np.cos(theta), np.sin(theta)
    temp = (force + environment.polemass_length * np.square(theta_dot) * sine) / environment.total_mass
    inertia = 4.0 / 3.0 - environment.masspole * np.square(cosine) / environment.total_mass
    theta_acc = (environment.gravity * sine - cosine * temp) / (environment.length * inertia)
    x_acc = temp - environment.polemass_length * theta_acc * cosine / environment.total_mass
    state = np.array((x_dot, x_acc, theta_dot, theta_acc))
    state *= environment.tau
    state += before
    environment.state = state
    environment.steps += 1
    terminated = np.abs(state[0]) > environment.x_threshold
    terminated |= np.abs(state[2]) > environment.theta_threshold_radians
    truncated = environment.steps >= environment.max_episode_steps
    rewards = -terminated.astype(np.float32) if environment._sutton_barto_reward else np.ones(len(theta), np.float32)
    return state.T.astype(np.float32), rewards, terminated, truncated


def _restart_cartpole(environment: Any, finished: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Start new episodes in the finished copies; returns their first observations."""
    environment.state[:, finished] = environment.np_random.uniform(
        low=environment.low, high=environment.high, size=(4, len(finished))
    )
    environment.steps[finished] = 0
    return np.asarray(environment.state[:, finished].T, dtype=np.float32)


def _step_table(
    environment: Any, actions: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """One step of all copies of an environment that replays a table; nothing cuts its episodes short."""
    observations, rewards, ended = environment.advance(actions)
    return observations, rewards.astype(np.float32), ended, np.zeros(len(ended), np.bool_)


def _restart_table(environment: Any, finished: npt.NDArray[np.intp]) -> npt.NDArray[np.float32]:
    """Start new episodes in the finished copies; returns their first observations."""
    return np.asarray(environment.restart(finished), dtype=np.float32)


_KNOWN: dict[type, tuple[Step, Restart]] = {
    CartPoleVectorEnv: (_step_cartpole, _restart_cartpole),
    BatteryVector: (_step_table, _restart_table),
    InventoryVector: (_step_table, _restart_table),
}


class NativeVecEnv(VecEnv):
    """A native Gymnasium environment of `num_envs` copies, with what Monitor would tell of its episodes."""

    def __init__(self, environment: Any) -> None:
        """`environment` is an unwrapped Gymnasium vector environment of a class that is known here."""
        self._environment = environment
        self._step, self._restart = _KNOWN[type(environment)]
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
        observations, rewards, terminated, truncated = self._step(self._environment, self._actions)
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

    def show_in(self, environment: Any, copy: int) -> None:
        """Put an environment of the ordinary kind where one of the copies is, to be drawn there."""
        environment.state = tuple(self._environment.state[:, copy])

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


class SameBeginnings:
    """So many times the same copies of a native environment, for policies that play the same episodes side by side.

    Each copy plays one episode; what it does afterwards means nothing.
    """

    def __init__(self, environment: Any, times: int) -> None:
        """`environment` is as `NativeVecEnv` takes it."""
        self._environment = environment
        self._step, _ = _KNOWN[type(environment)]
        self._shape = times, environment.num_envs

    def reset(self, seed: int) -> npt.NDArray[np.float32]:
        """First observations `[times, copies, numbers]`: of each time the same, and those of `NativeVecEnv`."""
        observations, _ = self._environment.reset(seed=seed)
        self._environment.state = np.tile(self._environment.state, self._shape[0])
        self._environment.steps = np.tile(self._environment.steps, self._shape[0])
        return np.broadcast_to(observations, (*self._shape, observations.shape[-1]))

    def step(
        self, actions: npt.NDArray[Any]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Observations, rewards and whether the episode is over, for actions `[times, copies]`."""
        observations, rewards, terminated, truncated = self._step(self._environment, actions.ravel())
        return (
            observations.reshape(*self._shape, -1),
            rewards.reshape(self._shape),
            np.asarray(terminated | truncated).reshape(self._shape),
        )

    def keep(self, which: npt.NDArray[np.bool_]) -> None:
        """Go on with some of the times only."""
        copies = np.repeat(which, self._shape[1])
        self._environment.state = self._environment.state[:, copies]
        self._environment.steps = self._environment.steps[copies]
        self._shape = int(which.sum()), self._shape[1]


def native(environment_id: str, kwargs: dict[str, Any], copies: int) -> NativeVecEnv | None:
    """The natively vectorised form of an environment, or None when Gymnasium has none that is known here."""
    return NativeVecEnv(_made(environment_id, kwargs, copies)) if is_native(environment_id) else None


def same_beginnings(environment_id: str, kwargs: dict[str, Any], copies: int, times: int) -> SameBeginnings:
    """So many times the same copies of an environment that `is_native`."""
    return SameBeginnings(_made(environment_id, kwargs, copies), times)


def is_native(environment_id: str) -> bool:
    """Whether Gymnasium has a natively vectorised form of an environment that is known here."""
    entry_point = gymnasium.spec(environment_id).vector_entry_point
    return entry_point in {f"{known.__module__}:{known.__qualname__}" for known in _KNOWN}


def _made(environment_id: str, kwargs: dict[str, Any], copies: int) -> Any:
    return gymnasium.make_vec(environment_id, copies, vectorization_mode="vector_entry_point", **kwargs).unwrapped
