"""An environment of somebody's own, as examples/custom_environment shows one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import gymnasium
import pytest

from tests.unit.training_image.helpers import ROOT, run
from training_image.catalogue import describe, read_catalogue
from training_image.trainer.errors import UsageError
from training_image.trainer.plan import plan_by_hand

EXAMPLE = ROOT / "examples" / "custom_environment"


@pytest.fixture
def _installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if the package were installed: its entry point is called as Gymnasium calls it."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    point = EntryPoint(name="Example", value="corridor:register", group="gymnasium.envs")
    with gymnasium.envs.registration.namespace(point.name):
        point.load()()
    yield
    for name in [name for name in gymnasium.registry if name.startswith("Example/")]:
        del gymnasium.registry[name]
    del sys.modules["corridor"]


def test_the_trainer_finds_it_once_its_package_is_installed(tmp_path: Path) -> None:
    package = tmp_path / "example_corridor-1.0.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: example-corridor\nVersion: 1.0.0\n")
    (package / "entry_points.txt").write_text(
        "[gymnasium.envs]\nExample = corridor:register\nBroken = nowhere:register\n"
    )
    code = (
        "from contract.run import EnvironmentSection; from training_image.trainer.envs import environments; "
        "environments.make(EnvironmentSection(id='Example/Corridor-v0'), 2).reset()"
    )
    path = os.pathsep.join(map(str, (tmp_path, EXAMPLE, ROOT)))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "nowhere:register could not be registered" in done.stderr


@pytest.mark.usefixtures("_installed")
def test_the_catalogue_takes_it_up_with_its_arguments() -> None:
    environment = read_catalogue().environments["Example/Corridor-v0"]
    assert environment.kwargs == ["length", "draught"]
    assert environment.reward_threshold == -15


@pytest.mark.usefixtures("_installed")
def test_it_is_trained_by_hand(tmp_path: Path) -> None:
    document = {
        "environment": {"id": "Example/Corridor-v0", "kwargs": {"length": 5}},
        "algorithm": {"hyperparameters": {"n_envs": 2, "n_steps": 200, "batch_size": 100}},
        "timesteps": 4000,
    }
    result = run(plan_by_hand("run", document, 0), tmp_path)
    assert result.summary["mean_return"] > -25


class Forgetful(gymnasium.Env[int, int]):
    """Takes its random numbers from where no seed reaches."""

    observation_space = gymnasium.spaces.Discrete(1000)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[int, dict[str, object]]:
        super().reset(seed=seed)
        return 0, {}

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, object]]:
        import random

        return random.SystemRandom().randrange(1000), 0.0, False, False, {}


class Shapeless(Forgetful):
    """Gives observations outside of its space."""

    def reset(self, *, seed: int | None = None, options: object = None) -> tuple[int, dict[str, object]]:
        super().reset(seed=seed)
        return 5000, {}


@pytest.mark.parametrize(
    ("environment", "said"), [(Forgetful, "Deterministic step|same seed"), (Shapeless, "observation")]
)
def test_a_faulty_one_is_refused_with_the_fault(environment: type, said: str) -> None:
    gymnasium.register("Faulty-v0", entry_point=environment, max_episode_steps=50)
    try:
        with pytest.raises(UsageError, match=f"Faulty-v0 fails the checks: .*({said})"):
            describe(gymnasium.spec("Faulty-v0"))
    finally:
        del gymnasium.registry["Faulty-v0"]
