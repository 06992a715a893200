"""Write `contract/catalogue.json` from the environments that are installed here: `make catalogue`."""

import inspect
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator, registry

from contract.catalogue import Catalogue, Environment, Variant
from training_image.trainer.envs.environment_check import problem_of
from training_image.trainer.envs.environments import says_valid_actions
from training_image.trainer.envs.spaces import summarise
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

# Constructor arguments that choose how an environment is shown, not what it is; and what its run hands over.
_PRESENTATION = {"render_mode", "screen_width", "screen_height", "table"}
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
            observation_space=summarise(environment.observation_space),
            action_space=summarise(environment.action_space),
            max_episode_steps=spec.max_episode_steps,
            reward_threshold=spec.reward_threshold,
            max_return=MAX_RETURNS.get(spec.id),
            kwargs=_kwargs(spec),
            table=getattr(type(environment.unwrapped), "table_columns", None),
            says_valid_actions=says_valid_actions(environment),
            variants=list(_variants(spec, environment)),
        )
    finally:
        environment.close()


def _variants(spec: EnvSpec, environment: gymnasium.Env[Any, Any]) -> Iterator[Variant]:
    """What the environment is with each switch among its arguments turned over, where that changes a space's kind."""
    usual = summarise(environment.observation_space), summarise(environment.action_space)
    for name, value in _switches(spec).items():
        try:
            other = gymnasium.make(spec, disable_env_checker=True, **{name: not value})
        except Exception:  # noqa: S112 - it cannot be that way, and says so to whoever asks for it
            continue
        observed, acts = summarise(other.observation_space), summarise(other.action_space)
        other.close()
        if (observed.kind, acts.kind) != (usual[0].kind, usual[1].kind):
            yield Variant(kwargs={name: not value}, observation_space=observed, action_space=acts)


def _switches(spec: EnvSpec) -> dict[str, bool]:
    """The arguments that are true or false, and which of it they are."""
    values = {name: parameter.default for name, parameter in _parameters(spec).items()} | spec.kwargs
    return {name: values[name] for name in _kwargs(spec) if isinstance(values[name], bool)}


def _kwargs(spec: EnvSpec) -> list[str]:
    return [name for name in _parameters(spec) if name not in _PRESENTATION]


def _parameters(spec: EnvSpec) -> dict[str, inspect.Parameter]:
    creator = spec.entry_point if callable(spec.entry_point) else load_env_creator(str(spec.entry_point))
    parameters = inspect.signature(creator).parameters.items()
    return {name: p for name, p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


if __name__ == "__main__":
    target = Path(__file__).parents[1] / "contract" / "catalogue.json"
    target.write_text(json.dumps(read_catalogue().model_dump(), indent=1) + "\n", encoding="utf-8")
