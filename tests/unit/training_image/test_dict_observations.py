"""Observations of several parts: trained, resumed, evaluated, exported and validated as others are."""

import json
import tarfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import onnxruntime
import pytest
from gymnasium import spaces
from safetensors.torch import load

from contract.catalogue import Catalogue, load_catalogue
from contract.policy import observation_inputs
from contract.run import ResolvedRun, RunSpecification, Source, resolve
from tests.unit.training_image.helpers import (
    Killed,
    KilledAt,
    Recorder,
    assert_acts_as_trained,
    fingerprint,
    run,
    small_plan,
)
from training_image.catalogue import describe
from training_image.trainer.envs import environments
from training_image.trainer.envs import observations as batches
from training_image.trainer.envs.normalising import normalised
from training_image.trainer.envs.spaces import build_observed, describe_observed
from training_image.trainer.learning import algorithms
from training_image.trainer.plan import plan_of_run
from training_image.trainer.policies import model
from training_image.trainer.policies.evaluation import play
from training_image.trainer.policies.export import to_onnx
from training_image.trainer.policies.graph import graph_of
from training_image.trainer.policies.served import ServedPolicy
from training_image.trainer.recovery.state import capture_normaliser
from training_image.trainer.storage import LocalStorage
from training_image.trainer.verdict.validation import validate


class Cockpit(gymnasium.Env[Any, Any]):
    """The lever must be where the gear says, and a lamp lights when it was; the wind says nothing."""

    def __init__(self, continuous: bool = False, picture: bool = False) -> None:
        parts: list[tuple[str, spaces.Space[Any]]] = [
            ("wind", spaces.Box(-np.inf, np.inf, (2,), np.float64)),
            ("gear", spaces.Discrete(3)),
            ("2", spaces.MultiBinary(3)),
        ]
        if picture:
            parts.append(("seen", spaces.Box(0, 255, (36, 36, 3), np.uint8)))
        self.observation_space = spaces.Dict(parts)
        self.action_space = spaces.Box(-1, 1, (1,), np.float32) if continuous else spaces.Discrete(3)
        self._lamps = np.zeros(3, np.int8)
        self._gear = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._lamps = np.zeros(3, np.int8)
        return self._observation(), self._info()

    def step(self, action: Any) -> Any:
        lever = float(action[0]) if isinstance(self.action_space, spaces.Box) else float(action) - 1
        reward = 1 - abs(lever - (self._gear - 1))
        self._lamps = np.eye(3, dtype=np.int8)[self._gear]
        return self._observation(), reward, False, False, self._info()

    def _observation(self) -> dict[str, Any]:
        self._gear = int(self.np_random.integers(3))
        observation = {"wind": self.np_random.normal(5, 3, 2), "gear": np.int64(self._gear), "2": self._lamps.copy()}
        if "seen" in self.observation_space.spaces:  # type: ignore[attr-defined]
            observation["seen"] = self.np_random.integers(0, 255, size=(36, 36, 3), dtype=np.uint8)
        return observation

    def _info(self) -> dict[str, Any]:
        return {"action_mask": np.ones(3, dtype=np.int8)}


CLIPPED = {"n_envs": 2, "n_steps": 40, "batch_size": 40, "n_epochs": 2, "net_arch": [8]}
REPLAY = {"net_arch": [8], "buffer_size": 100, "batch_size": 16, "learning_starts": 20, "train_freq": 8}
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "ppo": ("ppo", {}, CLIPPED | {"normalize": True}),
    "ppo, with a picture": ("ppo", {"picture": True}, CLIPPED | {"normalize": True}),
    "recurrent-ppo": ("recurrent-ppo", {}, CLIPPED | {"lstm_hidden_size": 8, "n_steps": 20}),
    "maskable-ppo": ("maskable-ppo", {}, CLIPPED),
    "reinforce": ("reinforce", {}, {"n_envs": 2, "net_arch": [8]}),
    "dqn": ("dqn", {}, REPLAY),
    "sac, normalised": ("sac", {"continuous": True}, REPLAY | {"n_envs": 2, "normalize": True}),
}


@pytest.fixture(autouse=True, scope="module")
def _cockpit() -> Iterator[None]:
    gymnasium.register("Cockpit-v0", entry_point=Cockpit, max_episode_steps=20, reward_threshold=15)
    yield
    del gymnasium.registry["Cockpit-v0"]


@pytest.mark.parametrize(("algorithm", "kwargs", "hyperparameters"), CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys())
def test_trained_resumed_and_exported(
    algorithm: str, kwargs: dict[str, Any], hyperparameters: dict[str, Any], tmp_path: Path
) -> None:
    environment = {"kwargs": kwargs}
    plan = small_plan(
        "Cockpit-v0", sections={"environment": environment}, algorithm=algorithm, timesteps=480, **hyperparameters
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        run(plan, tmp_path / "whole")
        with pytest.raises(Killed):
            run(plan, tmp_path / "cut", KilledAt(80))
        resumed = Recorder()
        run(plan, tmp_path / "cut", resumed)
    assert resumed.of("started")[0]["timesteps"] >= 80
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")

    read = model.read(LocalStorage(tmp_path / "whole" / "model"))
    met = play(read.graph, plan.specification.environment, episodes=4, seed=2**32)
    exported = to_onnx(read.graph, read.observation_space)
    assert_acts_as_trained(ServedPolicy(exported), read.graph, read.observation_space, met.observations)
    inputs = {node.name: node for node in onnxruntime.InferenceSession(exported).get_inputs()}
    described = observation_inputs(read.document["observation_space"])
    assert list(inputs)[: len(described)] == list(described)
    assert list(described)[:3] == ["observation.wind", "observation.gear", "observation.2"]
    for name, space in described.items():
        assert inputs[name].shape == ["batch", *space["shape"]]
    assert inputs["observation.wind"].type == "tensor(float)"
    assert inputs["observation.gear"].type == "tensor(int64)"


def test_the_graph_acts_as_the_model_predicts() -> None:
    plan = small_plan(
        "Cockpit-v0", sections={"environment": {"kwargs": {"picture": True}}}, normalize=True, activation="relu"
    )
    environment = normalised(environments.make(plan.specification.environment, 2), 0.99)
    built = algorithms.build("ppo", environment, plan.hyperparameters, 3)
    environment.seed(0)
    environment.reset()
    for _ in range(3):
        environment.step(np.array([0, 1]))
    statistics = load(capture_normaliser(environment))
    assert {name for name in statistics if name.endswith(".mean")} == {"observation.wind.mean", "return.mean"}
    space = environments.observed(built)
    space.seed(0)
    met = batches.stacked([batches.as_input(space.sample(), space) for _ in range(50)])
    graph = graph_of(built.policy, statistics, space)
    expected, _ = built.predict(environment.normalize_obs(met), deterministic=True)  # type: ignore[arg-type]
    np.testing.assert_array_equal(graph.act(met), expected)
    assert isinstance(met, dict)
    assert len(np.unique(graph.scores(batches.tensors(met)).detach()[:, 0])) > 40, "what is seen matters"


def test_a_space_described_keeps_its_keys_in_order() -> None:
    space = Cockpit(picture=True).observation_space
    document = json.loads(json.dumps(describe_observed(space)))
    again = build_observed(document)
    assert again == space
    assert list(again) == ["wind", "gear", "2", "seen"]  # type: ignore[call-overload]


def test_validated_and_packed_with_observations_as_a_request_has_them(tmp_path: Path) -> None:
    known = load_catalogue()
    described = describe(gymnasium.spec("Cockpit-v0"))
    assert described is not None
    catalogue = Catalogue(format=1, gymnasium=known.gymnasium, environments={"Cockpit-v0": described})
    document = {
        "environment": {"id": "Cockpit-v0"},
        "algorithm": {"hyperparameters": CLIPPED | {"n_steps": 80, "learning_rate": 0.01}},
        "timesteps": 3200,
        "validation": {"episodes": 20, "min_return": 10},
    }
    specification = RunSpecification.parse(json.dumps(document), catalogue)
    prepared = ResolvedRun(
        run_id="cockpit-0123456789ab",
        experiment="cockpit",
        source=Source(bucket="input", key="cockpit/run.yaml", version_id="v1"),
        specification=resolve(specification, experiment="cockpit", catalogue=catalogue),
        submitted_at="2026-01-01T00:00:00+00:00",
        versions={},
    )
    run(plan_of_run(prepared, 0), tmp_path / "seed-0")
    verdict = validate(prepared, LocalStorage(tmp_path), Recorder())
    assert verdict.mean_return > 10, "what is seen is learnt"
    with tarfile.open(tmp_path / "model.tar.gz") as archive:
        packed = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    policy, golden = json.loads(packed["policy.json"]), json.loads(packed["golden.json"])
    assert list(policy["observation_space"]["spaces"]) == ["wind", "gear", "2"]
    assert all(list(observation) == ["wind", "gear", "2"] for observation in golden["observations"])
    space = build_observed(policy["observation_space"])
    met = batches.stacked([batches.as_input(observation, space) for observation in golden["observations"]])
    assert ServedPolicy(packed["policy.onnx"]).act(met).tolist() == golden["actions"]
