"""Environments, ready to be trained in or evaluated in: many copies, stepped in this process."""

import functools
from typing import Any

import gymnasium
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from training_image.trainer.errors import UsageError
from training_image.trainer.native import native

TIME_LIMIT = 1000
"""Steps after which an episode is cut where an environment has no time limit of its own: a policy that goes round in
circles would never end its evaluation."""


def make(environment_id: str, kwargs: dict[str, Any], copies: int) -> VecEnv:
    """Copies of an environment that reset themselves and report their episodes' returns and lengths.

    Raises:
        UsageError: when the environment cannot be built, with the reason.
    """
    try:
        return native(environment_id, kwargs, copies) or DummyVecEnv(
            [functools.partial(_monitored, environment_id, kwargs)] * copies
        )
    except Exception as error:
        raise UsageError(f"environment {environment_id} cannot be built: {error}") from error


def episode_steps(environment_id: str) -> int:
    """The most steps an episode takes."""
    return gymnasium.spec(environment_id).max_episode_steps or TIME_LIMIT


def _monitored(environment_id: str, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    # The checker looks at every first step of every copy for mistakes of an environment's author.
    limit = episode_steps(environment_id)
    return Monitor(gymnasium.make(environment_id, max_episode_steps=limit, disable_env_checker=True, **kwargs))
