"""The run file: the only thing a user writes. This model is its one definition.

The JSON Schema for editors, the reference page and every error message come from it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal, Self, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    model_validator,
)

from contract.algorithms import ALGORITHMS, algorithms_for
from contract.catalogue import Catalogue, Environment, load_catalogue
from contract.layout import DATA_FOLDER, MAX_NAME
from contract.spaces import MAX_LOGGED_NUMBERS, BoxSpace, LoggedSpace

MAX_RUN_FILE_BYTES = 256 * 1024
"""A run file is a page of text; anything larger is something else, dropped by mistake."""

MAX_PROBLEMS_SAID = 10

TRANSITION_COLUMNS = (
    *("episode", "step", "time", "observation", "action", "reward", "terminated", "truncated", "next_observation"),
)
"""What a row of logged experience may have."""

LOG = "log"
"""Stands where the id of an environment does when there is none: no simulator, only a log."""

LOGGED_SPACES = ("Box", "Discrete", "MultiDiscrete", "MultiBinary")

ENDPOINT_PATTERN = rf"^[a-zA-Z0-9](-*[a-zA-Z0-9]){{0,{MAX_NAME - 1}}}$"
"""https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateEndpoint.html"""


def is_endpoint_name(text: str) -> bool:
    """Whether an endpoint could be called so."""
    return len(text) <= MAX_NAME and re.fullmatch(ENDPOINT_PATTERN, text) is not None


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("each seed once")
    return seeds


def _integral(value: object) -> object:
    """Take `1e5` for the whole number that it is."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _seed_list(value: object) -> object:
    """`seeds: 3` means seeds 0, 1 and 2."""
    value = _integral(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return list(range(value)) if 1 <= value <= MAX_SEEDS else value
    return value


MAX_SEEDS = 32
_WHOLE = BeforeValidator(_integral)
Seed = Annotated[int, Field(ge=0, lt=2**31), _WHOLE]
SeedCount = Annotated[int, Field(ge=1, le=MAX_SEEDS)]


def _is_none(value: object) -> bool:
    return value is None


class _Section(BaseModel):
    # All models of the contract are built when they are first used: a function that starts needs a few of them.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, defer_build=True)


class EnvironmentSection(_Section):
    """What the agent acts in."""

    id: str = Field(
        default=LOG,
        description="Gymnasium id of an environment of the training image, such as `CartPole-v1`. Left out where there "
        "is no simulator, only a log: then the spaces are given.",
    )
    kwargs: dict[str, JsonValue] = Field(
        default_factory=dict, description="Arguments of the environment's constructor."
    )
    frame_stack: Annotated[int, Field(ge=1, le=64), _WHOLE] = Field(
        default=1,
        description="How many of the last observations the policy sees at once, the newest last; before an episode "
        "began they are zeros. An endpoint is given the same.",
    )
    observation_space: LoggedSpace | None = Field(
        default=None,
        exclude_if=_is_none,
        description="Where there is only a log: what an observation is, such as `{type: Box, shape: [4]}`.",
    )
    action_space: LoggedSpace | None = Field(
        default=None,
        exclude_if=_is_none,
        description="Where there is only a log: what an action is, such as `{type: Discrete, n: 2}`.",
    )

    @property
    def is_simulated(self) -> bool:
        """Whether there is an environment to act in."""
        return self.id != LOG


class AlgorithmSection(_Section):
    """What learns."""

    name: str = Field(default="ppo", description="Name of the algorithm.")
    hyperparameters: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Hyperparameters that differ from the tuned defaults of the environment.",
    )


class ValidationSection(_Section):
    """When a trained policy is good enough to be deployed."""

    episodes: Annotated[int, Field(ge=2, le=10_000), _WHOLE] = Field(
        default=100, description="Held-out episodes that the policy plays; none where there is only a log."
    )
    min_return: float | None = Field(
        default=None,
        description="The mean return to reach; left out, the environment's own reward threshold. Where there is only a "
        "log it is a return discounted by the algorithm's `gamma`, and left out, what the log's own actions are worth.",
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        default=0.95, description="How sure it must be: the lower end of this interval must reach min_return."
    )
    compare_to_champion: bool = Field(
        default=True,
        description="Whether the policy that serves at the endpoint plays the same episodes, and the new one is "
        "deployed only if it is not worse.",
    )
    margin: Annotated[float, Field(ge=0)] = Field(
        default=0,
        description="How much lower than the champion's the mean return may be, in units of the return: with "
        "`confidence` the difference must be at least minus this. 0 promotes only what is shown to be as good.",
    )


class EvaluationSection(_Section):
    """How a policy is watched while it learns. What decides is `validation`, on other episodes."""

    every_steps: Annotated[int, Field(ge=1), _WHOLE] | None = Field(
        default=None,
        description="Environment steps between evaluations of the policy as it then is; null has none.",
    )
    episodes: Annotated[int, Field(ge=1, le=1000), _WHOLE] = Field(
        default=100, description="Episodes of an evaluation, played side by side."
    )


class CheckpointSection(_Section):
    """What survives an interruption."""

    every_seconds: Annotated[float, Field(ge=1, le=3600)] | None = Field(
        default=60, description="Seconds of training between checkpoints; null takes none."
    )
    keep: Annotated[int, Field(ge=1, le=100), _WHOLE] = Field(
        default=3, description="Complete checkpoints kept for each seed."
    )


class ComputeSection(_Section):
    """Where training happens."""

    accelerator: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="`auto` takes a GPU for image observations and a CPU for everything else."
    )
    spot: bool = Field(default=True, description="Try Spot capacity first; On-Demand when there is none.")
    parallel: Literal["copies", "processes", "auto"] = Field(
        default="copies",
        description="Where the `n_envs` copies of the environment are stepped: `copies` in the training's own process, "
        "`processes` each in one of its own. `auto` measures both for a few seconds when training begins, and other "
        "numbers of copies with rollouts of the same size, and takes what is fastest.",
    )


class LimitsSection(_Section):
    """What a seed's training may use, over all its attempts. At a limit it is checkpointed and ends as LIMIT."""

    max_hours: Annotated[float, Field(gt=0, le=168)] = Field(default=2, description="Hours of training.")
    max_cost_usd: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Dollars of training, at the price of the instance in the stage's settings."
    )
    stuck_minutes: Annotated[float, Field(gt=0, le=24 * 60)] | None = Field(
        default=15, description="Minutes without a single step after which training has failed; null waits for ever."
    )


def _pattern(value: str) -> str:
    if not value.startswith(f"{DATA_FOLDER}/") or ".." in value.split("/"):
        raise ValueError(f"a pattern that begins with {DATA_FOLDER}/, such as {DATA_FOLDER}/*.parquet")
    return value


def _file_name(value: str) -> str:
    if not value or "/" in value:
        raise ValueError(f"the name of a file in {DATA_FOLDER}/, such as _SUCCESS")
    return value


DataColumn = Annotated[str, Field(min_length=1)]


class DataSection(_Section):
    """Data that a run learns from: files below `data/`, beside the run file."""

    kind: Literal["transitions", "table"] = Field(
        description="`transitions` is logged experience to learn from; `table` is history that the environment "
        "replays, such as prices or demand."
    )
    files: Annotated[str, AfterValidator(_pattern)] = Field(
        default=f"{DATA_FOLDER}/**",
        description="Which files, relative to the run file: `*` is anything but `/`, `**` anything. Parquet and CSV; "
        "for transitions also JSON lines, npz and Minari's HDF5.",
    )
    marker: Annotated[str, AfterValidator(_file_name)] | None = Field(
        default=None,
        description="A file in `data/`, such as `_SUCCESS`, that is written when all others are: then new data start "
        "a run only with it. Left out, new files start one when no more have come for a while.",
    )
    columns: dict[str, DataColumn | list[DataColumn]] = Field(
        default_factory=dict,
        description="Names of the files' columns where they have names of their own, such as "
        "`{reward: r, observation: [x, v]}`.",
    )
    episodes_per_file: bool = Field(
        default=False, description="Whether every file counts its episodes anew, so that numbers occur in several."
    )
    max_rejected: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.01, description="Share of the rows that may be unusable; with more the run is REJECTED."
    )
    clone_steps: Annotated[int, Field(ge=0, le=10_000_000), _WHOLE] = Field(
        default=2000,
        description="Of transitions, and an algorithm whose policy can begin as the log's (ppo, a2c, reinforce): "
        "updates of behaviour cloning before its first step.",
    )
    held_out: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.2, description="Share that training never sees, and the policy is judged by."
    )
    split: Literal["episode", "time"] | None = Field(
        default=None,
        description="How it is chosen: whole episodes at random, or the end of the time. Left out, transitions are "
        "split by episode; a table always is by time.",
    )


class ShadowSection(_Section):
    """A candidate in the shadow of the policy that serves, before it is approved and deployed."""

    hours: Annotated[float, Field(gt=0, le=168)] = Field(default=24, description="Hours in the shadow.")
    percent: Annotated[int, Field(ge=1, le=100), _WHOLE] = Field(
        default=100, description="Percent of the requests that the candidate gets a copy of."
    )
    min_agreement: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Share of the requests, 0 to 1, that must be answered with the same action; null only tells.",
    )


class DriftSection(_Section):
    """Whether what an endpoint is asked is still what its policy was validated on; looked at every hour."""

    capture_percent: Annotated[int, Field(ge=1, le=100), _WHOLE] = Field(
        default=10, description="Percent of the requests that are kept in the artifacts bucket for it."
    )
    max_index: Annotated[float, Field(gt=0)] = Field(
        default=0.25,
        description="Population stability index of the observation's element that differs most, above which an alarm "
        "rings.",
    )
    retrain: bool = Field(
        default=False,
        description="Drop the run file anew when the alarm would ring, once for each policy: it trains on the data "
        "files that lie beside it then.",
    )


class DeploySection(_Section):
    """Where a policy that passed goes."""

    target: Literal["sagemaker", "sagemaker-serverless", "ecs", "none"] = Field(
        default="sagemaker",
        description="`sagemaker` serves it at a real-time endpoint; `sagemaker-serverless` at one that costs nothing "
        "while nobody calls, and takes seconds to answer the first who does; `ecs` by tasks of Fargate behind the "
        "stage's load balancer (`serving.ecs` in its settings); `none` only keeps it.",
    )
    endpoint: Annotated[str, Field(pattern=ENDPOINT_PATTERN, max_length=MAX_NAME)] | None = Field(
        default=None, description="Name of the endpoint, created or updated; left out, the experiment's name."
    )
    approval: Literal["automatic", "manual"] = Field(
        default="automatic",
        description="`manual` asks a person before a policy that passed is deployed: `rlpipe approve` or `reject`.",
    )
    approval_hours: Annotated[float, Field(gt=0, le=24 * 7)] = Field(
        default=72, description="Hours that a policy waits for approval; then it is rejected."
    )
    rehearse: bool = Field(
        default=True,
        description="Ask a policy at an endpoint of its own, which no caller knows, before it takes over one that "
        "serves: what answers wrongly, slowly or not at all never meets a caller.",
    )
    canary_percent: Annotated[int, Field(ge=0, le=50), _WHOLE] = Field(
        default=25,
        description="Percent of the requests that a new policy gets first, where the endpoint has several instances; "
        "0 moves all of them at once.",
    )
    bake_minutes: Annotated[float, Field(ge=0, le=60)] = Field(
        default=5,
        description="Minutes that alarms watch a new policy with its first requests, and then with all of them, "
        "before the one of before is let go; when one rings, it serves on.",
    )
    shadow: ShadowSection | None = Field(
        default=None, description="Run in the shadow of the policy that serves first; null does not."
    )
    drift: DriftSection | None = Field(default=None, description="Watch what the endpoint is asked; null does not.")
    ttl_hours: Annotated[float, Field(gt=0, le=24 * 365)] | None = Field(
        default=None, description="Hours after which the endpoint is switched off; null leaves it on."
    )
    max_error_percent: Annotated[float, Field(ge=0, lt=100)] = Field(
        default=1, description="Percent of the requests that may fail."
    )
    max_latency_ms: Annotated[float, Field(gt=0, le=60_000)] = Field(
        default=250, description="Milliseconds that nine of ten requests may take in the container."
    )

    @model_validator(mode="after")
    def _captured_by_sagemaker(self) -> Self:
        for name in ("shadow", "drift"):
            if self.target == "ecs" and getattr(self, name) is not None:
                raise ValueError(
                    f"{name}: not with the target ecs, since SageMaker captures the requests that it needs"
                )
        return self


class RunSpecification(_Section):
    """A run file, `run.yaml`. Only `environment` has no default."""

    environment: EnvironmentSection
    algorithm: AlgorithmSection = Field(default_factory=AlgorithmSection)
    timesteps: Annotated[int, Field(ge=1, le=10**10), _WHOLE] = Field(
        default=100_000, description="Environment steps of training, for each seed."
    )
    seeds: Annotated[
        list[Seed],
        Field(min_length=1, max_length=MAX_SEEDS),
        BeforeValidator(_seed_list, json_schema_input_type=SeedCount | list[Seed]),
        AfterValidator(_distinct),
    ] = Field(default=[0], description="How many seeds to train side by side, or a list of them.")
    evaluation: EvaluationSection = Field(default_factory=EvaluationSection)
    validation: ValidationSection = Field(default_factory=ValidationSection)
    checkpoint: CheckpointSection = Field(default_factory=CheckpointSection)
    compute: ComputeSection = Field(default_factory=ComputeSection)
    limits: LimitsSection = Field(default_factory=LimitsSection)
    data: DataSection | None = Field(
        default=None, description="Logged experience to learn from, or the table that the environment replays."
    )
    deploy: DeploySection = Field(default_factory=DeploySection)

    @classmethod
    def parse(cls, content: bytes | str, catalogue: Catalogue | None = None) -> Self:
        """Read a run file and check all of it that can be checked without starting anything.

        Raises:
            RunFileError: with every problem found, each naming the field, what was given and what is allowed.
        """
        document = _load_yaml(content)
        try:
            specification = cls.model_validate(document)
        except ValidationError as error:
            raise RunFileError([_problem(item) for item in error.errors()]) from error
        problems = list(_semantic_problems(specification, catalogue or load_catalogue()))
        if problems:
            raise RunFileError(problems)
        return specification


def data_files(data: DataSection, names: Iterable[str]) -> list[str]:
    """Those of some files, named relative to the run file, that a run learns from, sorted.

    The marker is none, nor is what begins with `.` or `_` or lies in such a folder.
    """
    parts = (".*" if part == "**" else "[^/]*" if part == "*" else re.escape(part) for part in _GLOB.split(data.files))
    pattern = re.compile("".join(parts))
    return sorted(
        name
        for name in names
        if pattern.fullmatch(name)
        and name != f"{DATA_FOLDER}/{data.marker}"
        and not any(part.startswith((".", "_")) for part in name.split("/"))
    )


def awaits(data: DataSection, name: str) -> bool:
    """Whether this file, named relative to the run file, is one whose arrival starts a run."""
    return name == f"{DATA_FOLDER}/{data.marker}" if data.marker else data_files(data, [name]) == [name]


_GLOB = re.compile(r"(\*\*|\*)")


class Source(_Section):
    """The exact version of the object that started a run."""

    bucket: str
    key: str
    version_id: str


class Input(_Section):
    """The exact version of a file that a run learns from; it lies in the bucket of the run file."""

    key: str
    version_id: str
    bytes: int


class ResolvedRun(_Section):
    """`run.json`: a run file with every default filled in, as the containers read it."""

    run_id: str
    experiment: str
    source: Source
    specification: RunSpecification
    inputs: list[Input] = Field(default=[], description="The files of `data`, in the order of their keys.")
    submitted_at: str = Field(description="When the run was prepared, ISO 8601, UTC.")
    versions: dict[str, str] = Field(description="Versions of what decided the defaults.")


def described(section: EnvironmentSection, catalogue: Catalogue) -> Environment | None:
    """What is known of a run's environment, or of what was logged in place of one; None where it is unknown."""
    if section.is_simulated:
        known = catalogue.environments.get(section.id)
        return known.with_kwargs(section.kwargs) if known else None
    if section.observation_space is None or section.action_space is None:
        return None
    return Environment(
        observation_space=section.observation_space.summary,
        action_space=section.action_space.summary,
        max_episode_steps=None,
        reward_threshold=None,
        max_return=None,
        kwargs=[],
    )


def resolve(specification: RunSpecification, *, experiment: str, catalogue: Catalogue) -> RunSpecification:
    """Fill in the defaults that depend on the environment and the experiment.

    `specification` must have come out of `RunSpecification.parse` with the same catalogue.
    """
    section = specification.environment
    environment = described(section, catalogue)
    assert environment is not None
    accelerator = specification.compute.accelerator
    if accelerator == "auto":
        accelerator = "gpu" if environment.has_image_observations else "cpu"
    min_return = specification.validation.min_return
    return specification.model_copy(
        update={
            "validation": specification.validation.model_copy(
                update={"min_return": environment.reward_threshold if min_return is None else min_return}
            ),
            "compute": specification.compute.model_copy(update={"accelerator": accelerator}),
            "deploy": specification.deploy.model_copy(update={"endpoint": specification.deploy.endpoint or experiment}),
        }
    )


class Problem(BaseModel):
    """One thing that is wrong with a run file."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    field: str = Field(description="Path of the field, such as `validation.episodes`.")
    given: str = Field(description="What the file says there.")
    allowed: str = Field(description="What it may say.")

    def __str__(self) -> str:
        return f"{self.field}: {self.allowed} (given: {self.given})"


class RunFileError(ValueError):
    """A run file was refused. Its text has the first problems: it must fit into a state's payload."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        lines = [str(problem) for problem in problems[:MAX_PROBLEMS_SAID]]
        if len(problems) > MAX_PROBLEMS_SAID:
            lines.append(f"and {len(problems) - MAX_PROBLEMS_SAID} more")
        super().__init__("\n".join(lines))


def _semantic_problems(specification: RunSpecification, catalogue: Catalogue) -> list[Problem]:
    """What no single field shows."""
    environment = described(specification.environment, catalogue)
    if specification.environment.is_simulated:
        if environment is None:
            return [_unknown_environment(specification.environment.id, catalogue)]
    elif problems := list(_log_problems(specification)):
        return problems
    assert environment is not None
    return [
        *_environment_problems(specification, environment),
        *_algorithm_problems(specification, environment),
        *_validation_problems(specification, environment),
        *_checkpoint_problems(specification),
        *_data_problems(specification, environment),
        *_approval_problems(specification),
        *_deploy_problems(specification),
    ]


def _unknown_environment(environment_id: str, catalogue: Catalogue) -> Problem:
    if ":" in environment_id:
        allowed = "an id without a module: a run file cannot choose code to import"
    elif close := catalogue.close_to(environment_id):
        allowed = f"an environment of the training image; did you mean {', '.join(close)}?"
    else:
        allowed = f"an environment of the training image: {', '.join(catalogue.environments)}"
    return _refusal("environment.id", environment_id, allowed)


def _log_problems(specification: RunSpecification) -> Iterator[Problem]:
    """What only a simulator could give, asked for where there is only a log."""
    section, data, parallel = specification.environment, specification.data, specification.compute.parallel
    spaces = {"observation_space": section.observation_space, "action_space": section.action_space}
    if not any(spaces.values()):
        allowed = (
            "required: the id of an environment of the training image, or where there is only a log "
            "environment.observation_space and environment.action_space in its place"
        )
        yield _refusal("environment.id", None, allowed)
        return
    for name, space in spaces.items():
        if space is None:
            yield _refusal(f"environment.{name}", None, "required where there is no environment.id")
    if isinstance(section.action_space, BoxSpace) and not section.action_space.is_bounded:
        yield _refusal("environment.action_space", section.action_space.model_dump(), "low and high of every number")
    able = ", ".join(sorted(name for name, one in ALGORITHMS.items() if one.is_offline))
    algorithm = ALGORITHMS.get(specification.algorithm.name)
    episodes = specification.validation.episodes if "episodes" in specification.validation.model_fields_set else None
    asked = {
        "environment.kwargs": (section.kwargs or None, "left out"),
        "environment.frame_stack": (None if section.frame_stack == 1 else section.frame_stack, "1"),
        "algorithm.name": (None if algorithm and algorithm.is_offline else specification.algorithm.name, able),
        "evaluation.every_steps": (specification.evaluation.every_steps, "null"),
        "validation.episodes": (episodes, "left out, since held-out episodes of the log decide"),
        "compute.parallel": (None if parallel == "copies" else parallel, "copies"),
    }
    for field, (given, allowed) in asked.items():
        if given is not None:
            yield _refusal(field, given, f"{allowed}: without environment.id there is no simulator, only a log")
    if data is None or data.kind != "transitions":
        allowed = "a section with kind: transitions, since without environment.id there is no simulator, only a log"
        yield _refusal("data", data and data.kind, allowed)


def _environment_problems(specification: RunSpecification, environment: Environment) -> list[Problem]:
    section = specification.environment
    for name in ("observation_space", "action_space"):
        if section.is_simulated and getattr(section, name) is not None:
            return [_refusal(f"environment.{name}", "a space", f"left out: {section.id} has its own")]
    unstacked = sorted({part.type for part in environment.observation_space.parts.values()} - {"Box"})
    if specification.environment.frame_stack > 1 and unstacked:
        allowed = (
            f"1: {specification.environment.id} has {unstacked[0]} observations, and only Box ones are joined to one"
        )
        return [_refusal("environment.frame_stack", specification.environment.frame_stack, allowed)]
    return [
        _refusal(
            f"environment.kwargs.{name}",
            value,
            f"an argument of {specification.environment.id}: {', '.join(environment.kwargs) or 'it takes none'}",
        )
        for name, value in specification.environment.kwargs.items()
        if name not in environment.kwargs
    ]


def _algorithm_problems(specification: RunSpecification, environment: Environment) -> list[Problem]:
    section = specification.algorithm
    algorithm = ALGORITHMS.get(section.name)
    if algorithm is None:
        return [_refusal("algorithm.name", section.name, f"one of {', '.join(sorted(ALGORITHMS))}")]
    space, observed = environment.action_space.type, environment.observation_space.kind
    data = specification.data
    logs = algorithm.is_offline or (data is not None and data.kind == "transitions")
    able = algorithms_for(space, observed, masks=environment.says_valid_actions, logs=logs)
    if section.name not in able:
        return [_unfit_algorithm(specification, environment, able)]
    try:
        hyperparameters = algorithm.hyperparameters.model_validate(section.hyperparameters)
    except ValidationError as error:
        return [_problem(item, "algorithm", "hyperparameters") for item in error.errors()]
    if getattr(hyperparameters, "normalize", None) and observed not in ("Box", "Dict"):
        allowed = (
            f"false: {specification.environment.id} has {observed} observations, and only Box ones are numbers to scale"
        )
        return [_refusal("algorithm.hyperparameters.normalize", True, allowed)]
    if getattr(hyperparameters, "use_sde", None) and space != "Box":
        allowed = f"false: {specification.environment.id} has {space} actions, and this noise is for Box ones"
        return [_refusal("algorithm.hyperparameters.use_sde", True, allowed)]
    n_envs, n_steps, batch_size = (getattr(hyperparameters, name, None) for name in ("n_envs", "n_steps", "batch_size"))
    if n_envs and n_steps and batch_size and batch_size > n_envs * n_steps:
        return [
            _refusal(
                "algorithm.hyperparameters.batch_size",
                batch_size,
                f"at most n_envs * n_steps, the {n_envs * n_steps} steps of a rollout",
            )
        ]
    return []


def _unfit_algorithm(specification: RunSpecification, environment: Environment, able: list[str]) -> Problem:
    """What hinders the chosen algorithm in this environment, and which ones nothing does."""
    name, environment_id = specification.algorithm.name, specification.environment.id
    algorithm = ALGORITHMS[name]
    space, observed = environment.action_space.type, environment.observation_space.kind
    if space not in algorithm.action_spaces:
        able_to = f"act in {environment_id}'s {space} action space"
    elif observed not in algorithm.observation_spaces:
        able_to = f"learn from {environment_id}'s {observed} observations"
    else:
        able_to = f"do without {environment_id} saying which actions are valid"
    return _refusal("algorithm.name", name, f"an algorithm that can {able_to}: {', '.join(able) or 'there is none'}")


def _validation_problems(specification: RunSpecification, environment: Environment) -> list[Problem]:
    min_return = specification.validation.min_return
    if min_return is None and environment.reward_threshold is None and specification.environment.is_simulated:
        return [
            _refusal(
                "validation.min_return",
                None,
                f"a number: {specification.environment.id} has no reward threshold of its own to fall back on",
            )
        ]
    if min_return is not None and environment.max_return is not None and min_return > environment.max_return:
        return [
            _refusal(
                "validation.min_return",
                min_return,
                f"at most {environment.max_return:g}, the most an episode of {specification.environment.id} returns",
            )
        ]
    return []


def _checkpoint_problems(specification: RunSpecification) -> list[Problem]:
    every = specification.checkpoint.every_seconds
    if every is None:
        if not specification.compute.spot:
            return []
        return [
            _refusal(
                "checkpoint.every_seconds",
                None,
                "a number of seconds while compute.spot is true: a reclaimed instance would lose the whole run",
            )
        ]
    if every >= specification.limits.max_hours * 3600:
        return [
            _refusal(
                "limits.max_hours",
                specification.limits.max_hours,
                f"more than {every / 3600:g}: the limit would be reached before the first checkpoint",
            )
        ]
    return []


def _data_problems(specification: RunSpecification, environment: Environment) -> list[Problem]:
    data, environment_id = specification.data, specification.environment.id
    algorithm = ALGORITHMS.get(specification.algorithm.name)
    if data is None or data.kind == "table":
        if algorithm is not None and algorithm.is_offline:
            allowed = (
                f"a section with kind: transitions; {algorithm.name} learns from logged experience and nothing else"
            )
            return [_refusal("data", None if data is None else data.kind, allowed)]
    elif algorithm is not None and algorithm.log == "ignores":
        able = ", ".join(sorted(name for name, one in ALGORITHMS.items() if one.log != "ignores"))
        return [_refusal("algorithm.name", algorithm.name, f"one that learns from a log: {able}")]
    elif specification.environment.frame_stack > 1:
        return [
            _refusal("environment.frame_stack", specification.environment.frame_stack, "1 with data.kind transitions")
        ]
    if data is None:
        return []
    if data.kind == "table" and environment.table is None:
        return [_refusal("data.kind", "table", f"transitions: {environment_id} replays no table")]
    problems = []
    known = TRANSITION_COLUMNS if data.kind == "transitions" else ("time", *(environment.table or {}))
    for name in data.columns:
        if name not in known:
            problems.append(_refusal(f"data.columns.{name}", data.columns[name], f"one of {', '.join(known)}"))
    if data.kind == "table" and data.split == "episode":
        problems.append(_refusal("data.split", "episode", "time: a table has no episodes"))
    for name, space in (("observation", environment.observation_space), ("action", environment.action_space)):
        size = math.prod(space.shape or ())
        if data.kind == "transitions" and (space.type not in LOGGED_SPACES or size > MAX_LOGGED_NUMBERS):
            allowed = (
                f"table, or an environment whose {name}s are {', '.join(LOGGED_SPACES)} of at most "
                f"{MAX_LOGGED_NUMBERS:,} numbers; those of {environment_id} are {space.type} of {size:,}"
            )
            problems.append(_refusal("data.kind", "transitions", allowed))
    return problems


def _deploy_problems(specification: RunSpecification) -> list[Problem]:
    """What only a real-time endpoint can do."""
    deploy = specification.deploy
    return [
        _refusal(f"deploy.{name}", "a section", f"null: with deploy.target {deploy.target} requests are not captured")
        for name in ("shadow", "drift")
        if getattr(deploy, name) is not None and deploy.target != "sagemaker"
    ]


def _approval_problems(specification: RunSpecification) -> list[Problem]:
    deploy = specification.deploy
    if deploy.target == "none" and deploy.approval == "manual":
        return [_refusal("deploy.approval", "manual", "automatic: with deploy.target none there is nothing to approve")]
    return []


def _refusal(field: str, given: object, allowed: str) -> Problem:
    if given is None:
        text = "nothing"
    elif isinstance(given, bool):
        text = str(given).lower()
    else:
        text = repr(given)
    return Problem(field=_shortened(field), given=_shortened(text), allowed=allowed)


def _shortened(text: str) -> str:
    return text if len(text) <= 120 else text[:117] + "..."


def _problem(error: Any, *prefix: str) -> Problem:
    """One of pydantic's errors, in the words of the run file."""
    path = [*prefix, *(str(part) for part in error["loc"] if not _is_union_branch(part))]
    field = ".".join(path) or "the file"
    kind, context = error["type"], error.get("ctx", {})
    allowed = {
        "extra_forbidden": "no such key",
        "missing": "required",
        "literal_error": f"one of {context.get('expected', '')}",
        "int_type": "a whole number",
        "int_from_float": "a whole number",
        "float_type": "a number",
        "finite_number": "a finite number",
        "bool_type": "true or false",
        "string_type": "text",
        "list_type": "a list",
        "dict_type": "a mapping",
        "model_type": "a mapping",
        "greater_than": f"more than {context.get('gt')}",
        "greater_than_equal": f"at least {context.get('ge')}",
        "less_than": f"less than {context.get('lt')}",
        "less_than_equal": f"at most {context.get('le')}",
        "too_short": f"at least {context.get('min_length')} of them",
        "too_long": f"at most {context.get('max_length')} of them",
        "value_error": str(context.get("error", "")),
        "string_too_long": f"at most {context.get('max_length')} characters",
        "union_tag_not_found": f"a space with its type, one of {', '.join(LOGGED_SPACES)}",
        "union_tag_invalid": f"a space whose type is one of {', '.join(LOGGED_SPACES)}",
        "string_pattern_mismatch": f"text that matches {context.get('pattern', '')}",
    }.get(kind, error["msg"])
    if kind == "extra_forbidden":
        known = _known_keys(path[:-1])
        allowed = "no such key" + (f"; known here: {', '.join(known)}" if known else "")
    if path == ["seeds"] and kind == "list_type":
        allowed = f"how many seeds, 1 to {MAX_SEEDS}, or a list of them"
    given = None if kind == "missing" else error["input"]
    return _refusal(field, given, allowed)


def _is_union_branch(part: object) -> bool:
    """pydantic names the branch of a union in the path, such as `constrained-str`; users never wrote it."""
    branch = rf"(constrained-|function-|list\[).*|int|float|str|{'|'.join(LOGGED_SPACES)}"
    return isinstance(part, str) and re.fullmatch(branch, part) is not None


def _known_keys(path: list[str]) -> list[str]:
    model: Any = RunSpecification
    for part in path:
        if part == "hyperparameters":
            return sorted({key for a in ALGORITHMS.values() for key in a.hyperparameters.model_fields})
        field = model.model_fields.get(part)
        annotations = () if field is None else (field.annotation, *get_args(field.annotation))
        models = [one for one in annotations if isinstance(one, type) and issubclass(one, BaseModel)]
        if not models:
            return []
        model = models[0]
    return list(model.model_fields)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, without aliases (an exponential bomb fits in a kilobyte), with duplicate keys refused
    (the last would silently win), and with numbers such as `3e-4` read as YAML 1.2 reads them."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_scalar(self, node: Any) -> Any:
        """JSON writes a character beyond U+FFFF as two escapes, which YAML reads as two halves."""
        value = super().construct_scalar(node)
        if isinstance(value, str) and not value.isascii():
            try:
                return value.encode("utf-16", "surrogatepass").decode("utf-16")
            except UnicodeDecodeError as error:
                raise yaml.MarkedYAMLError(problem="half a character", problem_mark=node.start_mark) from error
        return value

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem="merge keys are not allowed", problem_mark=key_node.start_mark)
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} is not text", problem_mark=key_node.start_mark)
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)$"),
    list("-+0123456789."),
)


def _load_yaml(content: bytes | str) -> dict[str, Any]:
    size = len(content if isinstance(content, bytes) else content.encode())
    if size > MAX_RUN_FILE_BYTES:
        raise RunFileError([_refusal("the file", f"{size} bytes", f"at most {MAX_RUN_FILE_BYTES} bytes")])
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
    except UnicodeDecodeError as error:
        raise RunFileError([_refusal("the file", f"byte {error.start} is not UTF-8", "UTF-8 text")]) from error
    try:
        document = yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader, made stricter
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}" if error.problem_mark else "the file"
        raise RunFileError([_refusal(where, error.problem, "valid YAML")]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise RunFileError([_refusal("the file", type(error).__name__, "valid YAML")]) from error
    if not isinstance(document, dict):
        raise RunFileError([_refusal("the file", document, "a mapping that begins with `environment:`")])
    return document
