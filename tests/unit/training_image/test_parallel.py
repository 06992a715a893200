"""How many copies of an environment are stepped, and in which processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.training_image.helpers import ROOT, SMALL, Killed, KilledAt, Recorder, fingerprint, run, small_plan
from training_image.trainer import parallel
from training_image.trainer.learning.hyperparameters import resolve
from training_image.trainer.parallel import Choice, choices

PROCESSES = {"compute": {"parallel": "processes"}}
AUTO = {"compute": {"parallel": "auto"}}

CARELESS = '''
import random

import gymnasium
import numpy as np

from contract.run import EnvironmentSection
from training_image.trainer.envs import environments


class Careless(gymnasium.Env):
    """Draws from the generators of its process, as some environments do."""

    observation_space = gymnasium.spaces.Box(0, 1, (2,))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        return self.drawn(), {}

    def step(self, action):
        return self.drawn(), 1.0, False, False, {}

    def drawn(self):
        return np.array([random.random(), np.random.random()], dtype=np.float32)


gymnasium.register("Careless-v0", entry_point=Careless, max_episode_steps=20)
if __name__ == "__main__":
    made = environments.make(EnvironmentSection(id="Careless-v0"), 2, processes=True)
    seen = []
    for _ in range(2):
        made.seed(5)
        made.reset()
        seen.append(made.step(np.array([0, 1]))[0].tolist())
    made.close()
    assert seen[0] == seen[1], seen
    assert seen[0][0] != seen[0][1], seen
'''


def test_environments_in_processes_of_their_own_give_the_same_weights_and_resume_exactly(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"environment": "Pendulum-v1", "timesteps": 3200, "normalize": True, "use_sde": False}
    run(small_plan(**settings), tmp_path / "here")
    with pytest.raises(Killed):
        run(small_plan(**settings, sections=PROCESSES), tmp_path / "apart", KilledAt(1600))
    run(small_plan(**settings, sections=PROCESSES), tmp_path / "apart")
    assert fingerprint(tmp_path / "apart") == fingerprint(tmp_path / "here")


def test_processes_are_seeded_too(tmp_path: Path) -> None:
    source = tmp_path / "careless.py"
    source.write_text(CARELESS)
    path = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, str(source)], env=path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_signal_to_the_whole_group_leaves_the_processes_to_the_training(tmp_path: Path) -> None:
    """As Ctrl-C does in a terminal."""
    command = [sys.executable, str(ROOT / "training_image" / "train_rl.py"), "--env", "Pendulum-v1"]
    command += ["--timesteps", "1000000", "--output", str(tmp_path / "run"), "--set", "compute.parallel=processes"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if "steps/s" in line:
            os.killpg(process.pid, signal.SIGINT)
            break
    rest, _ = process.communicate(timeout=120)
    assert process.returncode == 75, "".join(said) + rest
    assert "SIGINT received" in rest


@pytest.mark.parametrize(
    ("algorithm", "given", "share", "expected"),
    [
        ("ppo", {"n_envs": 4, "n_steps": 64}, "n_steps", [1, 2, 4, 8]),
        ("a2c", {"n_envs": 8, "n_steps": 5}, "n_steps", [1, 2, 4, 8]),
        ("dqn", {"n_envs": 1, "train_freq": 4}, "train_freq", [1, 2, 4]),
        ("sac", {"n_envs": 1, "train_freq": 1}, "train_freq", [1]),
        ("reinforce", {"n_envs": 2, "n_episodes": 3}, "n_episodes", [1, 2]),
    ],
)
def test_an_update_learns_from_as_many_steps_whatever_is_chosen(
    algorithm: str, given: dict[str, Any], share: str, expected: list[int]
) -> None:
    found = list(choices(resolve(algorithm, "unknown", given)))
    assert [choice.copies for choice in found] == expected
    assert {choice.changes["n_envs"] * choice.changes[share] for choice in found} == {given["n_envs"] * given[share]}


def test_q_learning_keeps_the_copies_it_is_tuned_with() -> None:
    assert [choice.copies for choice in choices(resolve("q-learning", "FrozenLake-v1", {"n_envs": 3}))] == [3]


def test_auto_takes_the_fewest_that_are_nearly_the_fastest_and_stays_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, four, eight = (Choice(copies=n, changes={"n_envs": n, "n_steps": 400 // n}) for n in (1, 4, 8))
    monkeypatch.setattr(parallel, "_measure", lambda _: [(one, 100.0), (four, 950.0), (eight, 1000.0)])
    killed, resumed = KilledAt(3200), Recorder()
    with pytest.raises(Killed):
        run(small_plan(sections=AUTO), tmp_path / "auto", killed)
    assert any(line.startswith("parallel: 4 in this process") for line in killed.lines)
    monkeypatch.setattr(parallel, "_measure", lambda _: pytest.fail("a resumed training measures nothing"))
    run(small_plan(sections=AUTO), tmp_path / "auto", resumed)
    assert resumed.of("started")[0]["timesteps"] >= 3200
    run(small_plan(n_envs=4, n_steps=100), tmp_path / "four")
    assert fingerprint(tmp_path / "auto") == fingerprint(tmp_path / "four")


def test_auto_measures_what_there_is_to_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "PROBE_SECONDS", 0.01)
    lines: list[str] = []
    settled = parallel.settle(small_plan(sections=AUTO), None, lines.append)
    h: Any = settled.hyperparameters
    assert h.n_envs * h.n_steps == SMALL["n_envs"] * SMALL["n_steps"]  # type: ignore[operator]
    assert "1 in this process" in lines[0]
    assert settled.identity == small_plan(sections=AUTO).identity
