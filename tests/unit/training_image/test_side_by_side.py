"""Several seeds by hand."""

import json
from pathlib import Path

from tests.unit.training_image.helpers import script

SMALL = ["--set", "n_envs=2", "--set", "n_steps=200", "--set", "net_arch=[8]", "--timesteps", "2000"]


def test_each_seed_has_a_folder_and_the_weights_it_has_alone(tmp_path: Path) -> None:
    done = script(
        "train_rl.py",
        "--env",
        "CartPole-v0",
        "--seeds",
        "2",
        "--jobs",
        "2",
        "--output",
        str(tmp_path),
        "--json",
        *SMALL,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert [seed["reason"] for seed in summary["seeds"]] == ["trained for 2,000 steps"] * 2
    assert "[seed 1] seed 1: training for 2,000 steps" in done.stderr
    alone = script("train_rl.py", "--env", "CartPole-v0", "--seed", "1", "--output", str(tmp_path / "alone"), *SMALL)
    assert alone.returncode == 0
    weights = [tmp_path / folder / "model" / "policy.safetensors" for folder in ("seed-0", "seed-1", "alone")]
    assert weights[1].read_bytes() == weights[2].read_bytes() != weights[0].read_bytes()


def test_one_that_fails_fails_the_whole(tmp_path: Path) -> None:
    done = script("train_rl.py", "--env", "CartPole-v9", "--seeds", "2", "--output", str(tmp_path))
    assert done.returncode == 2
    assert "seed 0: environment.id" in done.stdout
