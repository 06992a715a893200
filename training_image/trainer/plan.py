"""What one training is to do: a run specification, one of its seeds, and every hyperparameter filled in."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from contract.catalogue import Catalogue, load_catalogue
from contract.hyperparameters import Hyperparameters
from contract.layout import SPECIFICATION
from contract.run import ResolvedRun, RunFileError, RunSpecification
from training_image.trainer.errors import UsageError
from training_image.trainer.learning import hyperparameters
from training_image.trainer.storage import Storage


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One training."""

    run_id: str
    specification: RunSpecification
    seed: int
    hyperparameters: Hyperparameters
    planned: Hyperparameters | None = None
    """What `hyperparameters` were before `parallel: auto` changed some."""
    log: str | None = None
    """Where the prepared transitions are that it learns from."""
    processes: bool = False
    """Whether each copy of the environment is stepped in a process of its own."""

    @property
    def environment(self) -> str:
        """The Gymnasium id."""
        return self.specification.environment.id

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint must share with a training to be continued by it; the length may differ."""
        return {
            "environment": self.specification.environment.model_dump(),
            "algorithm": self.specification.algorithm.name,
            "hyperparameters": (self.planned or self.hyperparameters).model_dump(),
            "seed": self.seed,
        }


def read_run(storage: Storage) -> ResolvedRun:
    """The run whose prefix `storage` is.

    Raises:
        UsageError: when there is no run.json, or it does not fit this version of the contract.
    """
    document = storage.read(SPECIFICATION)
    if document is None:
        raise UsageError(f"there is no {SPECIFICATION} at {storage.uri}")
    try:
        return ResolvedRun.model_validate_json(document)
    except ValidationError as error:
        raise UsageError(f"{SPECIFICATION} at {storage.uri} is not a run of this version: {error}") from error


def plan_of_run(run: ResolvedRun, seed: int) -> Plan:
    """The training of one seed of a run.

    Raises:
        UsageError: when the run has no such seed.
    """
    if seed not in run.specification.seeds:
        raise UsageError(
            f"--seed {seed}: run {run.run_id} has the seeds {', '.join(map(str, run.specification.seeds))}"
        )
    return _plan(run.run_id, run.specification, seed)


def plan_by_hand(run_id: str, document: dict[str, Any], seed: int) -> Plan:
    """The training that a run file with these keys would start, checked by the same rules.

    Environments that are installed here but are not in the catalogue, such as one's own, may be trained too. A
    threshold to pass is for validation, so here an environment need not have one.

    Raises:
        UsageError: with every problem, each naming the field, what was given and what is allowed.
    """
    environment_id = document["environment"]["id"]
    catalogue = load_catalogue()
    if environment_id not in catalogue.environments:
        catalogue = _with_installed(catalogue, environment_id)
    document = {"deploy": {"target": "none"}, **document}
    if "validation" in document:  # how many episodes are played there is refused where none can be
        document["validation"] = {name: value for name, value in document["validation"].items() if name != "episodes"}
    known = catalogue.environments.get(environment_id)
    if known is not None and known.reward_threshold is None:
        document = {**document, "validation": {"min_return": 0 if known.max_return is None else known.max_return}}
    try:
        specification = RunSpecification.parse(json.dumps({**document, "seeds": [seed]}), catalogue)
    except RunFileError as error:
        raise UsageError("; ".join(map(str, error.problems))) from error
    return _plan(run_id, specification, seed)


def _plan(run_id: str, specification: RunSpecification, seed: int) -> Plan:
    section = specification.algorithm
    try:
        resolved = hyperparameters.resolve(section.name, specification.environment.id, section.hyperparameters)
    except ValidationError as error:
        raise UsageError(f"algorithm.hyperparameters: {error}") from error
    return Plan(
        run_id=run_id,
        specification=specification,
        seed=seed,
        hyperparameters=resolved,
        processes=specification.compute.parallel == "processes",
    )


def _with_installed(catalogue: Catalogue, environment_id: str) -> Catalogue:
    """The catalogue, and in it one environment that only this machine has; unchanged if it has not."""
    import gymnasium  # only here: for a known environment nobody needs it this early

    from training_image.catalogue import describe

    spec = gymnasium.registry.get(environment_id)
    described = spec and describe(spec)
    if not described:
        return catalogue
    return catalogue.model_copy(update={"environments": {**catalogue.environments, environment_id: described}})
