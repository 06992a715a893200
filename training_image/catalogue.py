"""Write `contract/catalogue.json` from the environments that are installed here: `make catalogue`."""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator, registry

from contract.catalogue import Catalogue, CatalogueSpace, Environment
from training_image.trainer.environment_check import problem_of
from training_image.trainer.environments import says_valid_actions
from training_image.trainer.errors import UsageError

# The most an episode can return, from each environment's page on gymnasium.farama.org.
MAX_RETURNS = {
    "CartPole-v0": 200,
    "CartPole-v1": 500,
    "MountainCar-v0": 0,
    "MountainCarContinuous-v0": 100,
    "Acrobot-v1": 0,
    "Pendulum-v1": 0,
    "FrozenLake-v1": 1,
    "FrozenLake8x8-v1": 1,
    "CliffWalking-v1": -13,
}

# Constructor arguments that choose how an environment is shown, not what it is.
_PRESENTATION = {"render_mode", "screen_width", "screen_height"}
# Wrappers around another library's environments, and ids that build no environment by themselves.
_EXCLUDED_PREFIXES = ("GymV", "phys2d/", "tabular/")


def read_catalogue() -> Catalogue:
    """The catalogue of every registered environment that can be built here, in the order of their ids."""
    environments = {}
    for environment_id, spec in sorted(registry.items()):
        if environment_id.startswith(_EXCLUDED_PREFIXES):
            continue
        try:
            described = describe(spec)
        except UsageError as error:
            sys.stderr.write(f"left out: {error}\n")
            continue
        if described is not None:
            environments[environment_id] = described
    return Catalogue(format=1, gymnasium=gymnasium.__version__, environments=environments)


def describe(spec: EnvSpec) -> Environment | None:
    """An environment as the catalogue knows it, or None when it cannot be built here.

    Raises:
        UsageError: when it is not Gymnasium's own and fails the checks.
    """
    try:
        environment: gymnasium.Env[Any, Any] = gymnasium.make(spec)
    except Exception:  # its own dependencies are not installed: it is not an environment of this image
        return None
    if not str(spec.entry_point).startswith("gymnasium.") and (problem := problem_of(spec.id)):
        raise UsageError(f"environment {spec.id} fails the checks: {problem}")
    try:
        return Environment(
            observation_space=_space(environment.observation_space),
            action_space=_space(environment.action_space),
            max_episode_steps=spec.max_episode_steps,
            reward_threshold=spec.reward_threshold,
            max_return=MAX_RETURNS.get(spec.id),
            kwargs=_kwargs(spec),
            says_valid_actions=says_valid_actions(environment),
        )
    finally:
        environment.close()


def _space(space: gymnasium.Space[Any]) -> CatalogueSpace:
    return CatalogueSpace(
        type=type(space).__name__,
        shape=None if space.shape is None else list(space.shape),
        dtype=None if space.dtype is None else str(space.dtype),
    )


def _kwargs(spec: EnvSpec) -> list[str]:
    creator = spec.entry_point if callable(spec.entry_point) else load_env_creator(str(spec.entry_point))
    parameters = inspect.signature(creator).parameters.values()
    named = (p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    return [name for name in named if name not in _PRESENTATION]


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "contract" / "catalogue.json"
    target.write_text(json.dumps(read_catalogue().model_dump(), indent=1) + "\n", encoding="utf-8")
