"""Observations that are pictures: seen by a convolutional network, as the environment gives them."""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.torch_layers import NatureCNN

from contract.run import EnvironmentSection
from tests.unit.training_image.helpers import Killed, KilledAt, Recorder, fingerprint, run, small_plan
from training_image.trainer.policies import model
from training_image.trainer.policies.evaluation import play
from training_image.trainer.policies.export import to_onnx
from training_image.trainer.policies.served import MIN_OBSERVATIONS, ServedPolicy, prove_equal
from training_image.trainer.storage import LocalStorage


class Lamp(gymnasium.Env[Any, Any]):
    """A picture that is bright on one side; pointing at that side is rewarded."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(0, 255, (36, 40, 3), np.uint8)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return self._picture(), {}

    def step(self, action: Any) -> Any:
        reward = float(action == self._side)
        return self._picture(), reward, False, False, {}

    def _picture(self) -> Any:
        self._side = int(self.np_random.integers(2))
        picture = self.np_random.integers(0, 50, size=(36, 40, 3), dtype=np.uint8)
        picture[:, 20 * self._side : 20 * (self._side + 1), 0] += 150
        return picture


@pytest.fixture(autouse=True)
def _lamp() -> Iterator[None]:
    gymnasium.register("Lamp-v0", entry_point=Lamp, max_episode_steps=20, reward_threshold=15)
    yield
    del gymnasium.registry["Lamp-v0"]


@pytest.mark.parametrize(
    ("algorithm", "frames", "hyperparameters"),
    [
        ("ppo", 2, {"n_envs": 2, "n_steps": 40, "batch_size": 40, "n_epochs": 2, "net_arch": [8]}),
        ("dqn", 1, {"buffer_size": 100, "learning_starts": 20, "train_freq": 8, "net_arch": [8]}),
    ],
)
def test_trained_resumed_exported_and_judged(
    algorithm: str, frames: int, hyperparameters: dict[str, Any], tmp_path: Path
) -> None:
    stack = {"environment": {"frame_stack": frames}}
    plan = small_plan("Lamp-v0", sections=stack, algorithm=algorithm, timesteps=320, **hyperparameters)
    reporter = Recorder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        run(plan, tmp_path / "whole", reporter)
        with pytest.raises(Killed):
            run(plan, tmp_path / "cut", KilledAt(160))
        run(plan, tmp_path / "cut")
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")
    assert any("observations are pictures" in line for line in reporter.lines)

    read = model.read(LocalStorage(tmp_path / "whole" / "model"))
    assert read.observation_space.shape == (36, 40, 3 * frames)
    assert any(isinstance(part, NatureCNN) for part in read.graph.modules())
    met = play(read.graph, plan.specification.environment, episodes=4, seed=2**32)
    assert isinstance(met.observations, np.ndarray)
    assert met.observations.shape[1:] == (36, 40, 3 * frames)
    served = ServedPolicy(to_onnx(read.graph, read.observation_space))
    assert prove_equal(served, read.graph, read.observation_space, met.observations) >= MIN_OBSERVATIONS


def test_what_is_seen_is_learnt(tmp_path: Path) -> None:
    plan = small_plan(
        "Lamp-v0",
        algorithm="ppo",
        timesteps=2560,
        every_seconds=None,
        **{
            "n_envs": 8,
            "n_steps": 20,
            "batch_size": 80,
            "n_epochs": 4,
            "net_arch": [16],
            "learning_rate": 1e-3,
            "gamma": 0.0,
        },
    )
    run(plan, tmp_path)
    read = model.read(LocalStorage(tmp_path / "model"))
    assert play(read.graph, EnvironmentSection(id="Lamp-v0"), episodes=8, seed=2**32).returns.mean() >= 19
