"""Checks of an environment that somebody else wrote, before anything is trained in it."""

import warnings
from copy import deepcopy
from typing import Any

import gymnasium
from gymnasium.utils.env_checker import check_env, data_equivalence

STEPS = 200


def problem_of(environment_id: str) -> str | None:
    """What is wrong with an environment, in words, or None: Gymnasium's `check_env`, and the same seed played twice."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = gymnasium.make(environment_id, disable_env_checker=True)
            try:
                check_env(made.unwrapped, skip_render_check=True)
            finally:
                made.close()
            first, second = _played(environment_id), _played(environment_id)
    except Exception as error:
        return str(error) or repr(error)
    for step, (one, other) in enumerate(zip(first, second, strict=False)):
        if not data_equivalence(one, other):
            return f"the same seed and actions gave something else at step {step}: {one} and {other}"
    return None


def _played(environment_id: str) -> list[Any]:
    environment = gymnasium.make(environment_id, disable_env_checker=True)
    try:
        met: list[Any] = [deepcopy(environment.reset(seed=1)[0])]
        environment.action_space.seed(1)
        for _ in range(STEPS):
            observation, reward, terminated, truncated, _ = environment.step(environment.action_space.sample())
            met.append((deepcopy(observation), float(reward), bool(terminated), bool(truncated)))
            if terminated or truncated:
                met.append(deepcopy(environment.reset()[0]))
        return met
    finally:
        environment.close()
