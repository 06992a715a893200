"""A run file is accepted whole, or refused with the field, what was given and what is allowed."""

import json

import pytest

from contract.catalogue import Catalogue, load_catalogue
from contract.run import MAX_RUN_FILE_BYTES, RunFileError, RunSpecification, resolve
from tests.unit.contract.wrong_run_files import LOG_ALONE, WRONG_RUN_FILES


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


def test_only_the_environment_is_needed() -> None:
    specification = RunSpecification.parse("environment: {id: CartPole-v1}")
    assert specification.timesteps == 100_000
    assert specification.seeds == [0]
    assert specification.algorithm.name == "ppo"


def test_a_log_alone_needs_its_spaces_in_place_of_an_environment(catalogue: Catalogue) -> None:
    specification = RunSpecification.parse(LOG_ALONE, catalogue)
    resolved = resolve(specification, experiment="logged", catalogue=catalogue)
    assert not resolved.environment.is_simulated
    assert resolved.validation.min_return is None, "what the log's own actions are worth is not known before"
    assert (resolved.compute.accelerator, resolved.deploy.endpoint) == ("cpu", "logged")
    assert RunSpecification.model_validate_json(resolved.model_dump_json()) == resolved
    simulated = RunSpecification.parse("environment: {id: CartPole-v1}").environment
    assert set(simulated.model_dump()) == {"id", "kwargs", "frame_stack"}, "older checkpoints know no more"


def test_the_spaces_of_a_log_are_the_ones_of_the_policy() -> None:
    written = "{type: Box, shape: [2, 2], low: [0, 1, 2, null], high: 9}"
    specification = RunSpecification.parse(LOG_ALONE.replace("{type: Box, shape: [4]}", written))
    space = specification.environment.observation_space
    assert space is not None
    assert space.document == {
        "type": "Box",
        "shape": [2, 2],
        "dtype": "float32",
        "low": [[0, 1], [2, None]],
        "high": [[9, 9], [9, 9]],
    }
    several = LOG_ALONE.replace("Box, shape: [4]", "MultiBinary, shape: [3]")
    several = several.replace("Discrete, n: 2", "MultiDiscrete, nvec: [2, 3]")
    environment = RunSpecification.parse(several).environment
    assert environment.observation_space is not None
    assert environment.action_space is not None
    assert environment.observation_space.document == {"type": "MultiBinary", "shape": [3], "dtype": "int8"}
    assert environment.action_space.document["nvec"] == [2, 3]


@pytest.mark.parametrize(("field", "content", "said"), WRONG_RUN_FILES)
def test_a_wrong_file_is_refused_with_its_field_and_what_is_allowed(
    field: str, content: str | bytes, said: str
) -> None:
    with pytest.raises(RunFileError) as refusal:
        RunSpecification.parse(content)
    problems = {problem.field: problem for problem in refusal.value.problems}
    assert field in problems, f"said instead: {refusal.value}"
    assert said in str(problems[field])


def test_there_are_at_least_forty_kinds_of_wrong_file() -> None:
    assert len(WRONG_RUN_FILES) >= 40
    assert len({content for _, content, _ in WRONG_RUN_FILES}) == len(WRONG_RUN_FILES)


def test_every_problem_is_reported_at_once() -> None:
    with pytest.raises(RunFileError) as refusal:
        RunSpecification.parse("environment: {id: CartPole-v1}\ntimesteps: -1\nseeds: 0\ncolour: red\n")
    assert {problem.field for problem in refusal.value.problems} == {"timesteps", "seeds", "colour"}


def test_the_text_of_a_refusal_stays_small_however_wrong_the_file() -> None:
    content = "\n".join(f"key{n}: {'x' * 200}" for n in range(1000))
    with pytest.raises(RunFileError) as refusal:
        RunSpecification.parse(content)
    assert len(refusal.value.problems) > 1000
    assert len(str(refusal.value)) < 8192


@pytest.mark.parametrize(
    ("written", "seeds"), [("1", [0]), ("3", [0, 1, 2]), ("[7]", [7]), ("[5, 2]", [5, 2]), ("2.0", [0, 1])]
)
def test_seeds_may_be_a_number_or_a_list(written: str, seeds: list[int]) -> None:
    assert RunSpecification.parse(f"environment: {{id: CartPole-v1}}\nseeds: {written}").seeds == seeds


@pytest.mark.parametrize("written", ["100000", "1e5", "1.0e5", "100_000"])
def test_a_whole_number_may_be_written_as_people_write_it(written: str) -> None:
    assert RunSpecification.parse(f"environment: {{id: CartPole-v1}}\ntimesteps: {written}").timesteps == 100_000


def test_a_learning_rate_without_a_decimal_point_is_a_number() -> None:
    content = "environment: {id: CartPole-v1}\nalgorithm: {hyperparameters: {learning_rate: 3e-4}}"
    assert RunSpecification.parse(content).algorithm.hyperparameters["learning_rate"] == 3e-4


def test_a_file_of_exactly_the_limit_is_read() -> None:
    content = b"environment: {id: CartPole-v1}\n#"
    assert RunSpecification.parse(content + b"x" * (MAX_RUN_FILE_BYTES - len(content)))


def test_resolving_fills_in_what_the_environment_and_the_experiment_decide(catalogue: Catalogue) -> None:
    specification = RunSpecification.parse("environment: {id: CartPole-v1}")
    resolved = resolve(specification, experiment="balance", catalogue=catalogue)
    assert resolved.validation.min_return == 475
    assert resolved.deploy.endpoint == "balance"
    assert resolved.compute.accelerator == "cpu"


def test_resolving_keeps_what_the_file_says(catalogue: Catalogue) -> None:
    specification = RunSpecification.parse(
        "environment: {id: CartPole-v1}\nvalidation: {min_return: 0}\n"
        "compute: {accelerator: gpu}\ndeploy: {endpoint: other}"
    )
    resolved = resolve(specification, experiment="balance", catalogue=catalogue)
    assert resolved.validation.min_return == 0
    assert resolved.deploy.endpoint == "other"
    assert resolved.compute.accelerator == "gpu"


def test_a_resolved_run_can_be_read_back(catalogue: Catalogue) -> None:
    resolved = resolve(RunSpecification.parse("environment: {id: CartPole-v1}"), experiment="x", catalogue=catalogue)
    assert RunSpecification.model_validate_json(resolved.model_dump_json()) == resolved


def test_every_field_of_the_schema_has_a_description() -> None:
    schema = RunSpecification.model_json_schema()
    sections = [schema, *schema["$defs"].values()]
    bare = [
        name
        for section in sections
        for name, field in section.get("properties", {}).items()
        if "description" not in field and "$ref" not in json.dumps(field)
    ]
    assert bare == []
