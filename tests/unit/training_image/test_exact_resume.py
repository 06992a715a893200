"""A training that was interrupted ends in the same weights, bit for bit, as one that was not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from contract.events import decode
from contract.outcomes import ExitCode
from tests.unit.training_image.helpers import (
    ROOT,
    Killed,
    KilledAt,
    Recorder,
    checkpoints,
    fingerprint,
    run,
    small_plan,
    write_run,
)

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "native environment, falling schedules": {
        "environment": "CartPole-v0",
        "learning_rate": "lin_3e-3",
        "clip_range": "lin_0.2",
    },
    "native environment, normalised": {"environment": "CartPole-v0", "normalize": True},
    "one environment at a time": {"environment": "MountainCar-v0"},
    "continuous, normalised, state-dependent noise": {
        "environment": "Pendulum-v1",
        "normalize": True,
        "use_sde": True,
        "sde_sample_freq": 4,
    },
}


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_resumed_after_a_kill_equals_uninterrupted(configuration: dict[str, Any], tmp_path: Path) -> None:
    plan = small_plan(**configuration)
    assert run(plan, tmp_path / "whole").exit_code == ExitCode.DONE

    for step in (1600, 3200):  # killed twice, at the two segments after the first
        with pytest.raises(Killed):
            run(plan, tmp_path / "cut", KilledAt(step))
    resumed = Recorder()
    assert run(plan, tmp_path / "cut", resumed).exit_code == ExitCode.DONE

    assert resumed.of("started")[0]["timesteps"] == 3200
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")


def test_another_seed_ends_in_other_weights(tmp_path: Path) -> None:
    for seed in (0, 1):
        run(small_plan(seed=seed, timesteps=400), tmp_path / str(seed))
    assert fingerprint(tmp_path / "0") != fingerprint(tmp_path / "1")


def test_killed_before_the_first_checkpoint_starts_over_and_ends_the_same(tmp_path: Path) -> None:
    plan = small_plan()
    run(plan, tmp_path / "whole")
    (tmp_path / "cut" / "checkpoints" / "000000001600").mkdir(parents=True)
    run(plan, tmp_path / "cut")
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")


def test_sigkill_of_the_process_then_resume_equals_uninterrupted(tmp_path: Path) -> None:
    document = {"timesteps": 30_000, "checkpoint": {"every_seconds": 1}}
    for name in ("whole", "cut"):
        write_run(tmp_path / name, **document)
    command = [sys.executable, "training_image/train_rl.py", "--seed", "0", "--run"]
    whole = subprocess.Popen([*command, str(tmp_path / "whole")], cwd=ROOT, stdout=subprocess.DEVNULL)
    cut = subprocess.Popen([*command, str(tmp_path / "cut")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert cut.stdout is not None
    for line in cut.stdout:
        if (event := decode(line)) and event["event"] == "checkpoint":
            os.kill(cut.pid, signal.SIGKILL)
            break
    assert cut.wait() == -signal.SIGKILL
    assert not (tmp_path / "cut" / "seed-0" / "model").exists()

    subprocess.run([*command, str(tmp_path / "cut")], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)

    assert whole.wait() == 0
    assert fingerprint(tmp_path / "cut" / "seed-0") == fingerprint(tmp_path / "whole" / "seed-0")


def test_a_finished_training_is_not_trained_again(tmp_path: Path) -> None:
    plan = small_plan(timesteps=400)
    run(plan, tmp_path)
    again = Recorder()
    assert run(plan, tmp_path, again).reason == "this training is finished already"
    assert again.events == []


def test_killed_between_the_last_checkpoint_and_the_model_still_leaves_the_model(tmp_path: Path) -> None:
    plan = small_plan()
    run(plan, tmp_path / "whole")
    with pytest.raises(Killed):
        run(plan, tmp_path / "cut", KilledAt(4800))
    assert not (tmp_path / "cut" / "model").exists()
    assert run(plan, tmp_path / "cut").exit_code == ExitCode.DONE
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")


def test_a_finished_training_can_be_made_longer(tmp_path: Path) -> None:
    run(small_plan(timesteps=1600), tmp_path)
    longer = Recorder()
    result = run(small_plan(timesteps=3200), tmp_path, longer)
    assert longer.of("started")[0]["timesteps"] == 1600
    assert result.summary["timesteps"] == 3200
    assert checkpoints(tmp_path)[-1] == 3200


@pytest.mark.parametrize(
    ("environment", "segment"), [("LunarLander-v3", 4000), ("BipedalWalker-v3", 6400), ("InvertedPendulum-v5", 4000)]
)
def test_physics_engines_are_resumed_exactly(environment: str, segment: int, tmp_path: Path) -> None:
    """BipedalWalker's keeps something through a reset with a seed; see `FreshOnSeed`."""
    small = {"n_envs": 1, "n_steps": 400, "batch_size": 200, "n_epochs": 1, "net_arch": [8], "normalize": True}
    plan = small_plan(environment, algorithm="ppo", timesteps=segment + 2000, **small)
    run(plan, tmp_path / "whole")
    with pytest.raises(Killed):
        run(plan, tmp_path / "cut", KilledAt(segment))
    resumed = Recorder()
    run(plan, tmp_path / "cut", resumed)
    assert resumed.of("started")[0]["timesteps"] == segment
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")


def test_sigterm_leaves_a_checkpoint_with_its_replay_buffer_within_seconds(tmp_path: Path) -> None:
    """And what continues from it ends as what was never stopped."""
    small = {"net_arch": [8], "batch_size": 16, "learning_starts": 100, "train_freq": 16, "gradient_steps": 1}
    document: dict[str, Any] = {
        "environment": {"id": "Pendulum-v1"},
        "algorithm": {"name": "sac", "hyperparameters": small},
        "timesteps": 6000,
        "validation": {"min_return": -1000},
        "checkpoint": {"every_seconds": 1},
    }
    for name in ("whole", "cut"):
        write_run(tmp_path / name, **document)
    command = [sys.executable, "training_image/train_rl.py", "--seed", "0", "--run"]
    whole = subprocess.Popen([*command, str(tmp_path / "whole")], cwd=ROOT, stdout=subprocess.DEVNULL)
    cut = subprocess.Popen([*command, str(tmp_path / "cut")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert cut.stdout is not None
    stopped_at = 0.0
    for line in cut.stdout:
        if not stopped_at and (event := decode(line)) and event["event"] == "checkpoint":
            cut.terminate()
            stopped_at = time.monotonic()
    assert cut.wait() == ExitCode.CHECKPOINTED
    assert time.monotonic() - stopped_at < 30
    subprocess.run([*command, str(tmp_path / "cut")], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    assert whole.wait() == 0
    assert fingerprint(tmp_path / "cut" / "seed-0") == fingerprint(tmp_path / "whole" / "seed-0")
