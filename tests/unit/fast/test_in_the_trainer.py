"""What the trainer promises holds on the fast path: choice, resume, evaluations, and an end when numbers diverge."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stable_baselines3 import PPO

from contract.outcomes import ExitCode
from contract.run import EnvironmentSection, EvaluationSection
from tests.unit.training_image.helpers import Killed, KilledAt, Recorder, fingerprint, run, small_plan
from training_image.trainer.envs import environments
from training_image.trainer.errors import TrainingError
from training_image.trainer.fast.ppo import FastPPO
from training_image.trainer.learning import algorithms
from training_image.trainer.plan import Plan

FAST = "PPO runs on the fast path"


def evaluated(plan: Plan, every_steps: int = 1000) -> Plan:
    section = EvaluationSection(every_steps=every_steps, episodes=4)
    specification = plan.specification.model_copy(update={"evaluation": section})
    return Plan(run_id="run", specification=specification, seed=plan.seed, hyperparameters=plan.hyperparameters)


@pytest.mark.parametrize("environment", ["CartPole-v0", "MountainCar-v0", "Pendulum-v1"])
@pytest.mark.parametrize("normalize", [False, True])
def test_small_networks_on_numbers_take_the_fast_path(environment: str, normalize: bool, tmp_path: Path) -> None:
    recorder = Recorder()
    plan = small_plan(environment, timesteps=400, normalize=normalize, use_sde=False)
    assert run(plan, tmp_path, recorder).exit_code == ExitCode.DONE
    assert recorder.lines[0].startswith(FAST)


@pytest.mark.parametrize(
    ("environment", "hyperparameters", "reason"),
    [
        ("CartPole-v0", {"fast": False}, "the fast path is switched off"),
        ("Pendulum-v1", {"use_sde": True}, "it explores by state-dependent noise"),
        ("FrozenLake-v1", {}, "its observations are no floating-point numbers"),
        ("CartPole-v0", {"net_arch": []}, "actor and critic do not have the same hidden layers"),
    ],
)
def test_everything_else_takes_stable_baselines3s_class_and_the_log_says_why(
    environment: str, hyperparameters: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    recorder = Recorder()
    plan = small_plan(environment, timesteps=400, **hyperparameters)
    run(plan, tmp_path, recorder)
    assert recorder.lines[0].startswith(f"PPO runs as Stable-Baselines3's own class: {reason}")
    copies = environments.make(EnvironmentSection(id=environment), 2)
    assert type(algorithms.build("ppo", copies, plan.hyperparameters, 0)) is PPO


VALUES = {"net_arch": [8], "buffer_size": 500, "batch_size": 16, "learning_starts": 100}


@pytest.mark.parametrize(
    ("algorithm", "environment", "more", "said"),
    [
        ("dqn", "CartPole-v0", {}, "DQN runs on the fast path: Stable-Baselines3's arithmetic in numpy"),
        ("qrdqn", "MountainCar-v0", {}, "QRDQN runs on the fast path: sb3-contrib's arithmetic in numpy"),
        (
            "dqn",
            "CartPole-v0",
            {"fast": False},
            "DQN runs as Stable-Baselines3's own class: the fast path is switched off",
        ),
        ("qrdqn", "FrozenLake-v1", {}, "QRDQN runs as sb3-contrib's own class: its observations are no floating-point"),
    ],
)
def test_the_log_says_who_learns_values(
    algorithm: str, environment: str, more: dict[str, Any], said: str, tmp_path: Path
) -> None:
    recorder = Recorder()
    plan = small_plan(environment, algorithm=algorithm, timesteps=300, **VALUES | more)
    assert run(plan, tmp_path, recorder).exit_code == ExitCode.DONE
    assert recorder.lines[0].startswith(said)


@pytest.mark.parametrize(
    "configuration",
    [
        {"environment": "Pendulum-v1", "use_sde": False, "ent_coef": 0.01},
        {"environment": "Pendulum-v1", "use_sde": False, "normalize": True, "learning_rate": "lin_1e-3"},
        {"environment": "CartPole-v0", "normalize": True, "activation": "relu"},
    ],
    ids=["continuous", "continuous, normalised", "two actions, normalised"],
)
def test_resumed_after_a_kill_equals_uninterrupted(configuration: dict[str, Any], tmp_path: Path) -> None:
    plan = small_plan(**configuration)
    whole = Recorder()
    run(plan, tmp_path / "whole", whole)
    assert whole.lines[0].startswith(FAST)
    for step in (1600, 3200):
        with pytest.raises(Killed):
            run(plan, tmp_path / "cut", KilledAt(step))
    assert run(plan, tmp_path / "cut").exit_code == ExitCode.DONE
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")


@pytest.mark.parametrize("fast", [True, False])
def test_evaluations_change_nothing_and_survive_a_kill(fast: bool, tmp_path: Path) -> None:
    plan = small_plan(fast=fast, normalize=True)
    run(plan, tmp_path / "unwatched")
    run(evaluated(plan), tmp_path / "whole")
    with pytest.raises(Killed):
        run(evaluated(plan), tmp_path / "cut", KilledAt(3200))
    run(evaluated(plan), tmp_path / "cut")

    prints = {fingerprint(tmp_path / name) for name in ("unwatched", "whole", "cut")}
    assert len(prints) == 1
    document = (tmp_path / "whole" / "evaluations.jsonl").read_bytes()
    assert (tmp_path / "cut" / "evaluations.jsonl").read_bytes() == document
    assert [json.loads(line)["timesteps"] for line in document.splitlines()] == [1200, 2000, 3200, 4000]
    assert not (tmp_path / "unwatched" / "evaluations.jsonl").exists()


def test_the_fast_path_acts_as_the_exported_policy_does() -> None:
    from training_image.trainer.monitoring.evaluations import policy_of
    from training_image.trainer.policies.graph import PolicyGraph

    for environment in ("CartPole-v0", "Pendulum-v1"):
        plan = small_plan(environment, use_sde=False)
        model = algorithms.build(
            "ppo", environments.make(EnvironmentSection(id=environment), 2), plan.hyperparameters, 0
        )
        assert isinstance(policy_of(model), FastPPO)
        observations = np.random.default_rng(0).normal(size=(50, *model.observation_space.shape))  # type: ignore[misc]
        graph = PolicyGraph(model.policy, None, model.observation_space)
        ours = policy_of(model).act(observations.astype(np.float32))
        np.testing.assert_allclose(ours, graph.act(observations.astype(np.float32)), rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("error")
def test_numbers_that_diverge_end_it_without_a_word_from_numpy(tmp_path: Path) -> None:
    plan = small_plan("Pendulum-v1", use_sde=False, learning_rate=1e30, max_grad_norm=1e30)
    with pytest.raises(TrainingError, match=r"loss is|no longer finite"):
        run(plan, tmp_path)
