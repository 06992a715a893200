"""Learning from a log: alone, or before the first step of an algorithm that acts."""

import runpy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import polars as pl
import pytest
from gymnasium import spaces
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from contract.outcomes import ExitCode
from contract.run import EnvironmentSection
from tests.unit.training_image.helpers import (
    ROOT,
    SMALL,
    Killed,
    KilledAt,
    Recorder,
    assert_acts_as_trained,
    assert_resumes_exactly,
    fingerprint,
    run,
    script,
    small_plan,
)
from training_image import prepare_data
from training_image.trainer.envs import environments
from training_image.trainer.learning import algorithms, logged
from training_image.trainer.learning.hyperparameters import resolve
from training_image.trainer.plan import Plan
from training_image.trainer.policies import model
from training_image.trainer.policies.evaluation import play
from training_image.trainer.policies.export import to_onnx
from training_image.trainer.policies.served import ServedPolicy
from training_image.trainer.recovery import replay
from training_image.trainer.storage import LocalStorage

TINY = {"net_arch": [8], "batch_size": 32}
CARTPOLE = EnvironmentSection(id="CartPole-v1")


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The prepared log of the example."""
    folder = tmp_path_factory.mktemp("cartpole")
    example = str(ROOT / "examples" / "offline_cartpole")
    assert prepare_data.main(["--experiment", example, "--output", str(folder)]) == 0
    return str(folder / "train")


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Steps of a pendulum that is pushed against its swing: half of the time, and at random otherwise."""
    folder = tmp_path_factory.mktemp("pendulum")
    generator = np.random.default_rng(0)
    environment = gymnasium.make("Pendulum-v1")
    rows: list[dict[str, Any]] = []
    for episode in range(10):
        observation, _ = environment.reset(seed=episode)
        for step in range(200):
            action = -np.sign(observation[2:]) if step % 2 else generator.uniform(-2, 2, 1)
            seen = {f"observation_{index}": value for index, value in enumerate(observation)}
            observation, reward, _, truncated, _ = environment.step(action.astype(np.float32))
            ends = {"reward": float(reward), "terminated": False, "truncated": truncated}
            rows.append({"episode": episode, "step": step, **seen, "action_0": np.float32(action[0]), **ends})
    frame = pl.DataFrame(rows).with_columns(pl.col("^(observation|action)_.$").cast(pl.Float32))
    frame.write_parquet(folder / "part.parquet")
    return str(folder)


CONFIGURATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bc": ("bc", "CartPole-v0", TINY | {"normalize": False}),
    "iql, continuous": ("iql", "Pendulum-v1", TINY),
}


@pytest.fixture(params=CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys(), scope="module")
def trained(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, cartpole: str, pendulum: str
) -> tuple[Plan, Path]:
    """A plan, and the folder of its uninterrupted training."""
    algorithm, environment, given = request.param
    log = cartpole if environment == "CartPole-v0" else pendulum
    plan = small_plan(environment, algorithm=algorithm, timesteps=1200, log=log, **given)
    folder = tmp_path_factory.mktemp("whole")
    assert run(plan, folder).exit_code == ExitCode.DONE
    return plan, folder


def test_resumed_after_a_kill_equals_uninterrupted(trained: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, whole = trained
    assert_resumes_exactly(plan, whole, tmp_path, killed_at=800)


def test_the_exported_policy_acts_as_the_trained_one(trained: tuple[Plan, Path]) -> None:
    plan, folder = trained
    read = model.read(LocalStorage(folder / "model"))
    met = play(read.graph, EnvironmentSection(id=plan.environment), episodes=4, seed=2**32)
    exported = to_onnx(read.graph, read.observation_space)
    assert_acts_as_trained(ServedPolicy(exported), read.graph, read.observation_space, met.observations)


def test_iql_makes_more_of_a_log_than_the_log(tmp_path: Path, cartpole: str) -> None:
    plan = small_plan("CartPole-v1", algorithm="iql", timesteps=600, log=cartpole, net_arch=[32], batch_size=128)
    run(plan, tmp_path)
    frame = pl.read_parquet(f"{cartpole}/*.parquet")
    logged_mean = frame.group_by("episode").len()["len"].mean()
    assert isinstance(logged_mean, float)
    met = play(model.read(LocalStorage(tmp_path / "model")).graph, CARTPOLE, episodes=20, seed=2**32, record=False)
    assert met.returns.mean() > logged_mean + (500 - logged_mean) / 2


def test_a_policy_that_begins_as_the_logs_is_better_at_its_first_step_than_a_fresh_one(
    tmp_path: Path, cartpole: str
) -> None:
    means = {}
    for steps in (0, 500):
        told = Recorder()
        sections = {"data": {"kind": "transitions", "clone_steps": steps}}
        small = SMALL | {"learning_rate": 1e-9}
        plan = small_plan("CartPole-v1", algorithm="ppo", timesteps=400, log=cartpole, sections=sections, **small)
        run(plan, tmp_path / str(steps), told)
        graph = model.read(LocalStorage(tmp_path / str(steps) / "model")).graph
        means[steps] = play(graph, CARTPOLE, episodes=20, seed=2**32, record=False).returns.mean()
        assert any(
            ("500 updates of behaviour cloning" if steps else "the log is not used") in line for line in told.lines
        )
    assert means[500] > 2 * means[0]


@pytest.mark.parametrize(("algorithm", "environment"), [("dqn", "CartPole-v0"), ("td3", "Pendulum-v1")])
def test_a_memory_begins_with_the_log_and_survives_a_kill(
    tmp_path: Path, cartpole: str, pendulum: str, algorithm: str, environment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BLOCK", 400)
    log = cartpole if environment == "CartPole-v0" else pendulum
    given = {"net_arch": [8], "buffer_size": 3000, "batch_size": 16, "learning_starts": 0, "train_freq": 8}
    plan = small_plan(environment, algorithm=algorithm, timesteps=1200, log=log, gradient_steps=1, **given)
    told = Recorder()
    assert run(plan, tmp_path / "whole", told).exit_code == ExitCode.DONE
    assert any("transitions are in the replay buffer" in line for line in told.lines)
    with pytest.raises(Killed):
        run(plan, tmp_path / "killed", KilledAt(800))
    assert run(plan, tmp_path / "killed").exit_code == ExitCode.DONE
    assert fingerprint(tmp_path / "killed") == fingerprint(tmp_path / "whole")


def test_what_a_memory_begins_with_is_what_was_logged(pendulum: str) -> None:
    environment = environments.make(EnvironmentSection(id="Pendulum-v1"), 2)
    built = algorithms.build("td3", environment, resolve("td3", "Pendulum-v1", {"buffer_size": 5000, "n_envs": 2}), 0)
    log = logged.read(pendulum, environment.observation_space, environment.action_space)
    assert isinstance(built, OffPolicyAlgorithm)
    assert logged.remember(built, log) == 1990, "the last step of an episode that was cut short has no next observation"
    buffer = replay.replay_buffer(built)
    assert buffer is not None
    assert buffer.pos == 995
    assert np.array_equal(buffer.observations[0], log.observations[:2])
    assert np.array_equal(buffer.next_observations[:995, 1][:99], log.observations[2:200:2])
    assert buffer.actions[:995] * 2 == pytest.approx(log.actions[log.follows].reshape(995, 2, 1), abs=1e-6)


def test_a_log_is_read_with_its_episodes_and_what_came_next(tmp_path: Path) -> None:
    rows = {
        "episode": [0, 0, 1, 1],
        "step": [0, 1, 0, 1],
        "observation": [4, 5, 6, 7],
        "action": [0, 1, 1, 0],
        "reward": [1.0, 2.0, 4.0, 8.0],
        "terminated": [False, True, False, False],
        "truncated": [False, False, False, True],
    }
    pl.DataFrame(rows).write_parquet(tmp_path / "part.parquet")
    log = logged.read(str(tmp_path), spaces.Discrete(8), spaces.Discrete(2))
    assert log.next_observations[[0, 2]].tolist() == [5, 7]
    assert log.follows.tolist() == [True, True, True, False]
    assert log.outcomes(0.5).tolist() == [2.0, 2.0, 8.0, 8.0]
    pl.DataFrame(rows | {"next_observation": [1, 2, None, 3]}).write_parquet(tmp_path / "part.parquet")
    told = logged.read(str(tmp_path), spaces.Discrete(8), spaces.Discrete(2))
    assert told.next_observations.tolist() == [1, 2, 7, 3]
    assert told.follows.all()


def test_by_hand_a_log_is_named_by_its_folder(tmp_path: Path, cartpole: str) -> None:
    folder = str(Path(cartpole).parent)
    options = ["--env", "CartPole-v1", "--algo", "bc", "--timesteps", "200", "--output", str(tmp_path / "policy")]
    done = script("train_rl.py", *options, "--data", folder)
    assert done.returncode == 0, done.stderr
    assert "logged transitions" in done.stdout + done.stderr
    refused = script("train_rl.py", *options[:-1], str(tmp_path / "other"))
    assert refused.returncode == ExitCode.USAGE
    assert "bc learns from logged experience and nothing else" in refused.stdout + refused.stderr


def test_the_log_of_the_example_is_what_its_script_makes(tmp_path: Path) -> None:
    example = ROOT / "examples" / "offline_cartpole"
    (tmp_path / "make_data.py").write_bytes((example / "make_data.py").read_bytes())
    runpy.run_path(str(tmp_path / "make_data.py"), run_name="__main__")
    assert (tmp_path / "data" / "log.csv").read_bytes() == (example / "data" / "log.csv").read_bytes()
