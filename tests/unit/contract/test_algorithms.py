"""Which algorithm a run file may name for which environment, and where its policy may go."""

import pytest

from contract.algorithms import ALGORITHMS, algorithms_for
from contract.catalogue import CatalogueSpace, load_catalogue
from contract.run import RunFileError, RunSpecification


def refusal(environment: str, algorithm: str, rest: str = "validation: {min_return: 0}") -> str:
    with pytest.raises(RunFileError) as raised:
        RunSpecification.parse(f"environment: {{id: {environment}}}\nalgorithm: {{name: {algorithm}}}\n{rest}")
    (problem,) = raised.value.problems
    return str(problem)


@pytest.mark.parametrize(
    ("environment", "algorithm", "said"),
    [
        ("Pendulum-v1", "dqn", "act in Pendulum-v1's Box action space: a2c, ppo, recurrent-ppo, reinforce, sac, td3"),
        ("CartPole-v1", "sac", "act in CartPole-v1's Discrete action space: a2c, dqn, ppo, qrdqn, recurrent-ppo"),
        ("CartPole-v1", "q-learning", "learn from CartPole-v1's Box observations: a2c, dqn"),
        ("CartPole-v1", "maskable-ppo", "do without CartPole-v1 saying which actions are valid: a2c, dqn"),
    ],
)
def test_one_that_cannot_is_refused_with_those_that_can(environment: str, algorithm: str, said: str) -> None:
    text = refusal(environment, algorithm, "validation: {min_return: -200}")
    assert text.startswith("algorithm.name: ")
    assert said in text


@pytest.mark.parametrize(("environment", "algorithm"), [("CartPole-v1", "recurrent-ppo"), ("Taxi-v4", "maskable-ppo")])
def test_a_policy_that_needs_more_than_an_observation_may_be_deployed(environment: str, algorithm: str) -> None:
    document = f"environment: {{id: {environment}}}\nalgorithm: {{name: {algorithm}}}\n"
    parsed = RunSpecification.parse(document + "validation: {min_return: 0}")
    assert parsed.deploy.target == "sagemaker"


def test_every_algorithm_has_an_environment_of_the_catalogue() -> None:
    spaces = [("Discrete", "Discrete", True), ("Box", "Box", False)]
    fit = {
        name for action, observed, masks in spaces for name in algorithms_for(action, observed, masks=masks, logs=True)
    }
    assert fit == set(ALGORITHMS)


@pytest.mark.parametrize(
    ("algorithm", "values", "said"),
    [
        ("sac", "ent_coef: automatic", "ent_coef"),
        ("td3", "noise_type: pink", "'ornstein-uhlenbeck'"),
        ("dqn", "exploration_final_eps: 2", "at most 1"),
        ("dqn", "n_steps: 5", "no such key"),
        ("q-learning", "net_arch: [8]", "no such key"),
    ],
)
def test_a_hyperparameter_is_checked_by_its_algorithm(algorithm: str, values: str, said: str) -> None:
    environment = {"sac": "Pendulum-v1", "td3": "Pendulum-v1", "dqn": "CartPole-v1"}.get(algorithm, "FrozenLake-v1")
    with pytest.raises(RunFileError, match=said):
        RunSpecification.parse(
            f"environment: {{id: {environment}}}\nalgorithm: {{name: {algorithm}, hyperparameters: {{{values}}}}}\n"
            "validation: {min_return: -100}"
        )


def dict_of(**parts: CatalogueSpace) -> CatalogueSpace:
    return CatalogueSpace(type="Dict", spaces=parts)


BOX, CHOICE = CatalogueSpace(type="Box", shape=[2], dtype="float32"), CatalogueSpace(type="Discrete", shape=[])


@pytest.mark.parametrize(
    ("observed", "kind"),
    [
        (dict_of(position=BOX, gear=CHOICE), "Dict"),
        (dict_of(inner=dict_of(position=BOX)), "Dict with Dict"),
        (dict_of(words=CatalogueSpace(type="Text")), "Dict with Text"),
        (CatalogueSpace(type="Dict", spaces={"a.b": BOX}), "Dict with the key 'a.b'"),
    ],
)
def test_a_dict_is_learnt_from_where_each_part_is_plain(observed: CatalogueSpace, kind: str) -> None:
    assert observed.kind == kind
    able = algorithms_for("Discrete", observed.kind)
    assert ("dqn" in able) == (kind == "Dict")
    assert "q-learning" not in able


def test_a_gpu_pays_where_a_part_of_the_observation_is_a_picture() -> None:
    picture = CatalogueSpace(type="Box", shape=[36, 36, 3], dtype="uint8")
    known = load_catalogue().environments["CartPole-v1"]
    assert not known.model_copy(update={"observation_space": dict_of(position=BOX)}).has_image_observations
    assert known.model_copy(update={"observation_space": dict_of(position=BOX, seen=picture)}).has_image_observations


def test_an_argument_that_changes_the_spaces_changes_which_algorithms_can() -> None:
    document = "environment: {{id: LunarLander-v3, kwargs: {{continuous: {}}}}}\nalgorithm: {{name: {}}}\n"
    for continuous, algorithm, other in (("true", "sac", "dqn"), ("false", "dqn", "sac")):
        RunSpecification.parse(document.format(continuous, algorithm))
        with pytest.raises(RunFileError, match=f"action space: .*{algorithm}"):
            RunSpecification.parse(document.format(continuous, other))
