"""Which hyperparameters a training uses: the tuned defaults of its environment, under the run file's own values."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import JsonValue

from contract.algorithms import ALGORITHMS
from contract.hyperparameters import Hyperparameters

FOLDER = Path(__file__).parents[2] / "hyperparameters"


def tuned(algorithm: str) -> dict[str, dict[str, Any]]:
    """The tuned hyperparameters of an algorithm, by environment id, and of `default`."""
    text = (FOLDER / f"{algorithm}.yaml").read_text(encoding="utf-8")
    entries: dict[str, dict[str, Any]] = yaml.load(text, Loader=_LOADER)  # noqa: S506 - safe loaders, both of them
    return entries


def resolve(algorithm: str, environment: str, given: dict[str, JsonValue]) -> Hyperparameters:
    """Every hyperparameter of a training. `given`, from the run file, wins over the environment's tuned values.

    Raises:
        pydantic.ValidationError: when a value is not one that the algorithm takes.
    """
    entries = tuned(algorithm)
    values = {**entries["default"], **entries.get(environment, {}), **given}
    return ALGORITHMS[algorithm].hyperparameters.model_validate(values)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
