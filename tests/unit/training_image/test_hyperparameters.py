"""Tuned defaults, and what wins over them."""

import pytest
from pydantic import ValidationError

from contract.algorithms import ALGORITHMS, algorithms_for
from contract.catalogue import load_catalogue
from contract.hyperparameters import ClippedHyperparameters
from training_image.trainer.learning import hyperparameters
from training_image.trainer.learning.algorithms import MODELS, rollout_steps

ENTRIES = [(algorithm, entry) for algorithm in ALGORITHMS for entry in hyperparameters.tuned(algorithm)]


def test_the_trainer_has_exactly_the_algorithms_of_the_contract() -> None:
    assert set(MODELS) == set(ALGORITHMS)
    assert {path.stem for path in hyperparameters.FOLDER.glob("*.yaml")} == set(ALGORITHMS)


@pytest.mark.parametrize(("algorithm", "entry"), ENTRIES)
def test_every_entry_is_of_a_known_environment_and_valid(algorithm: str, entry: str) -> None:
    environments = load_catalogue().environments
    assert entry == "default" or entry in environments
    resolved = hyperparameters.resolve(algorithm, entry, {})
    unset = [name for name, value in resolved.model_dump().items() if value is None]
    assert unset == [], "`default` must fill in every hyperparameter"
    if isinstance(resolved, ClippedHyperparameters):
        assert resolved.batch_size is not None
        assert resolved.batch_size <= rollout_steps(resolved)
    if entry != "default":
        environment = environments[entry]
        fit = algorithms_for(
            environment.action_space.type, environment.observation_space.type, masks=environment.says_valid_actions
        )
        assert algorithm in fit
        if getattr(resolved, "normalize", None):
            assert environment.observation_space.type == "Box"


def test_the_run_file_wins_over_the_environment_and_that_over_the_default() -> None:
    resolved = hyperparameters.resolve("ppo", "CartPole-v1", {"n_steps": 16}).model_dump()
    assert resolved["n_steps"] == 16
    assert resolved["n_envs"] == 32
    assert resolved["vf_coef"] == 0.5


def test_a_value_the_algorithm_does_not_take_is_refused() -> None:
    with pytest.raises(ValidationError, match="n_steps"):
        hyperparameters.resolve("ppo", "CartPole-v1", {"n_steps": 0})


@pytest.mark.parametrize(("progress", "expected"), [(1.0, 7e-3), (0.5, 3.5e-3), (0.0, 0.0), (-0.01, 0.0)])
def test_a_falling_schedule_never_goes_below_zero(progress: float, expected: float) -> None:
    from training_image.trainer.learning.algorithms import schedule

    falling = schedule("lin_7e-3")
    assert callable(falling)
    assert falling(progress) == pytest.approx(expected)
