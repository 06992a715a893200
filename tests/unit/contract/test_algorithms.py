"""Which algorithm a run file may name for which environment, and where its policy may go."""

import pytest

from contract.algorithms import ALGORITHMS, algorithms_for
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
def test_a_policy_that_needs_more_than_an_observation_is_not_deployed(environment: str, algorithm: str) -> None:
    text = refusal(environment, algorithm)
    assert text.startswith("deploy.target: none")
    assert "ppo" in text
    document = f"environment: {{id: {environment}}}\nalgorithm: {{name: {algorithm}}}\n"
    RunSpecification.parse(document + "validation: {min_return: 0}\ndeploy: {target: none}")


def test_every_algorithm_has_an_environment_of_the_catalogue() -> None:
    spaces = [("Discrete", "Discrete", True), ("Box", "Box", False)]
    fit = {name for action, observed, masks in spaces for name in algorithms_for(action, observed, masks=masks)}
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
