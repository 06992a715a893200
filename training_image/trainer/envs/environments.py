"""Environments, ready to be trained in or evaluated in: many copies, stepped in this process."""

import copy
import functools
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import numpy.typing as npt
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecEnvWrapper, VecFrameStack

from contract.run import LOG, EnvironmentSection
from training_image.trainer.envs import (
    installed,  # noqa: F401 - environments of installed packages
    spaces,
    tables,
    workers,
)
from training_image.trainer.envs.native import native
from training_image.trainer.errors import UsageError

TIME_LIMIT = 1000
"""Steps after which an episode is cut where an environment has no time limit of its own: a policy that goes round in
circles would never end its evaluation."""


def make(of: EnvironmentSection, copies: int, *, processes: bool = False, render_mode: str | None = None) -> VecEnv:
    """Copies of an environment that reset themselves and report their episodes' returns and lengths.

    With `processes` each is stepped in a process of its own.

    Raises:
        UsageError: when the environment cannot be built, with the reason.
    """
    if not of.is_simulated:
        return DummyVecEnv([functools.partial(_Logged, *spaces.logged(of))] * copies)
    shown = {} if render_mode is None else {"render_mode": render_mode}
    builds: list[workers.Build] = [functools.partial(_monitored, of.id, of.kwargs | shown)] * copies
    try:
        made: VecEnv | None = workers.start(builds) if processes else None
        if made is None and not shown:
            made = native(of.id, tables.given(of.kwargs), copies)
        made = made or _side_by_side(builds)
        return VecFrameStack(made, of.frame_stack) if of.frame_stack > 1 else made
    except Exception as error:
        raise UsageError(f"environment {of.id} cannot be built: {error}") from error


def _side_by_side(builds: list[workers.Build]) -> DummyVecEnv:
    """Copies one after another in this process."""
    made = DummyVecEnv(builds)
    made.buf_infos = _Infos(made.buf_infos)
    return made


class _Infos(list[dict[str, Any]]):
    """What the copies said at a step. Stable-Baselines3 copies all of it deeply, which takes as long as a step of a
    small environment; what is kept beyond the step is how episodes ended, so the rest is handed over as it is."""

    def __deepcopy__(self, memo: dict[int, Any]) -> list[dict[str, Any]]:
        return [copy.deepcopy(info, memo) if "terminal_observation" in info else info.copy() for info in self]


def observed(model: BaseAlgorithm) -> gymnasium.Space[Any]:
    """The observation space of the environment that a model is trained in, as `make` made it."""
    environment = model.env
    while isinstance(environment, VecEnvWrapper) and not isinstance(environment, VecFrameStack):
        environment = environment.venv
    assert environment is not None
    return environment.observation_space


def episode_steps(environment_id: str) -> int:
    """The most steps an episode takes."""
    if environment_id == LOG:
        return TIME_LIMIT
    return gymnasium.spec(environment_id).max_episode_steps or TIME_LIMIT


def _monitored(environment_id: str, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    # The checker looks at every first step of every copy for mistakes of an environment's author.
    build = functools.partial(
        gymnasium.make,
        environment_id,
        max_episode_steps=episode_steps(environment_id),
        disable_env_checker=True,
        **tables.given(kwargs),
    )
    return Monitor(ValidActions(FreshOnSeed(build)))


class _Logged(gymnasium.Env[Any, Any]):
    """Where there is no simulator: the spaces of a log. Algorithms that learn from it ask for no more, and look at no
    observation that `reset` gives."""

    def __init__(self, observation_space: gymnasium.Space[Any], action_space: gymnasium.Space[Any]) -> None:
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        raise UsageError("environment.id: there is no simulator, only a log")


class FreshOnSeed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Builds the environment anew when it is reset with a seed.

    Then a seed decides everything that follows, whatever was played before. Gymnasium asks that of `reset` itself, but
    some environments keep something: BipedalWalker's physics engine does, so do wrappers with running statistics.
    """

    def __init__(self, build: Callable[[], gymnasium.Env[Any, Any]]) -> None:
        super().__init__(build())
        self._build = build
        self._is_new = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None and not self._is_new:
            self.env.close()
            self.env = self._build()
        self._is_new = False
        return self.env.reset(seed=seed, options=options)


class ValidActions(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Says which actions are valid, in the way that maskable PPO asks: by a method `action_masks`.

    An environment says so by such a method of its own, or as Gymnasium's own do, by `info["action_mask"]`.
    """

    def __init__(self, environment: gymnasium.Env[Any, Any]) -> None:
        super().__init__(environment)
        self._mask: Any = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._mask = info.get("action_mask")
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._mask = info.get("action_mask")
        return observation, reward, terminated, truncated, info

    def action_masks(self) -> npt.NDArray[np.bool_]:
        """One for each choice of the action space, true where it is valid."""
        mask = self._mask
        if mask is None:
            mask = self.env.get_wrapper_attr("action_masks")()
        return np.asarray(mask, dtype=bool)


def says_valid_actions(environment: gymnasium.Env[Any, Any]) -> bool:
    """Whether an environment says which of its actions are valid."""
    if environment.has_wrapper_attr("action_masks"):
        return True
    _, info = environment.reset(seed=0)
    return "action_mask" in info
