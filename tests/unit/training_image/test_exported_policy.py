"""From the trained model to the exported policy: the same actions all the way."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from contract.policy import ACTION_OUTPUT, OBSERVATION_INPUT
from tests.unit.training_image.helpers import run, small_plan
from training_image.trainer.envs.observations import input_dtype
from training_image.trainer.errors import TrainingError, UsageError
from training_image.trainer.policies import model
from training_image.trainer.policies.export import to_onnx
from training_image.trainer.policies.graph import PolicyGraph
from training_image.trainer.policies.served import MIN_OBSERVATIONS, ServedPolicy, extreme_observations, prove_equal
from training_image.trainer.recovery.state import capture_normaliser
from training_image.trainer.storage import LocalStorage

BOX = spaces.Box(np.array([-1, -np.inf, -3], np.float32), np.array([1, np.inf, 3], np.float32))
OBSERVATION_SPACES: dict[str, Any] = {
    "box": BOX,
    "wide box": spaces.Box(-1, 1, (2, 3), np.float64),
    "discrete": spaces.Discrete(5),
    "multi-discrete": spaces.MultiDiscrete([3, 4]),
    "multi-binary": spaces.MultiBinary(4),
}
ACTION_SPACES: dict[str, Any] = {
    "discrete": spaces.Discrete(3),
    "multi-discrete": spaces.MultiDiscrete([2, 3]),
    "multi-binary": spaces.MultiBinary(3),
    "box": spaces.Box(-0.1, 0.2, (2,), np.float32),
    "square box": spaces.Box(-2, 2, (2, 2), np.float32),
}


class Anything(gymnasium.Env[Any, Any]):
    """Spaces without a world."""

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        self.observation_space = observation_space
        self.action_space = action_space

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        return self.observation_space.sample(), 0.0, False, False, {}


def untrained(observation_space: Any, action_space: Any, *, normalised: bool = False) -> tuple[PPO, PolicyGraph]:
    """A model with random weights, and its graph."""
    environment: Any = DummyVecEnv([lambda: Anything(observation_space, action_space)])
    tensors = None
    if normalised:
        environment = VecNormalize(environment)
        environment.obs_rms.mean = np.full(observation_space.shape, 0.3)
        environment.obs_rms.var = np.full(observation_space.shape, 0.02)
        from safetensors.torch import load

        tensors = load(capture_normaliser(environment))
    built = PPO("MlpPolicy", environment, seed=1, device="cpu", policy_kwargs={"ortho_init": False})
    with torch.no_grad():
        for weights in built.policy.parameters():
            weights.normal_(std=0.7)
    return built, PolicyGraph(built.policy, tensors, observation_space)


def sampled(space: Any, count: int = 300) -> Any:
    space.seed(0)
    return np.stack([space.sample() for _ in range(count)]).astype(input_dtype(space))


@pytest.mark.parametrize("action", ACTION_SPACES)
@pytest.mark.parametrize("observation", OBSERVATION_SPACES)
def test_the_graph_acts_as_the_model_predicts(observation: str, action: str) -> None:
    space = OBSERVATION_SPACES[observation]
    built, graph = untrained(space, ACTION_SPACES[action])
    observations = sampled(space)
    expected, _ = built.predict(observations, deterministic=True)
    actions = graph.act(observations)
    np.testing.assert_allclose(actions, expected, rtol=1e-6)
    assert len(np.unique(actions, axis=0)) > 1


def test_normalisation_is_inside_the_graph() -> None:
    built, graph = untrained(BOX, ACTION_SPACES["square box"], normalised=True)
    observations = sampled(BOX)
    normaliser = built.get_vec_normalize_env()
    assert normaliser is not None
    expected, _ = built.predict(np.asarray(normaliser.normalize_obs(observations)), deterministic=True)
    np.testing.assert_allclose(graph.act(observations), expected, rtol=1e-6)
    assert np.abs(np.asarray(normaliser.normalize_obs(observations))).max() == 10, "clipping must be part of it"


@pytest.mark.parametrize("action", ACTION_SPACES)
@pytest.mark.parametrize("observation", OBSERVATION_SPACES)
def test_onnx_acts_as_the_graph_on_ten_thousand_observations(observation: str, action: str) -> None:
    space = OBSERVATION_SPACES[observation]
    normalised = observation == "box"
    _, graph = untrained(space, ACTION_SPACES[action], normalised=normalised)
    served = ServedPolicy(to_onnx(graph, space))
    assert prove_equal(served, graph, space, sampled(space)) >= MIN_OBSERVATIONS


def test_names_types_and_free_batch_size_of_the_exported_graph() -> None:
    _, graph = untrained(BOX, ACTION_SPACES["discrete"])
    exported = to_onnx(graph, BOX)
    onnx.checker.check_model(onnx.load_from_string(exported))
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    (given,), (answered,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.type, given.shape) == (OBSERVATION_INPUT, "tensor(float)", ["batch", 3])
    assert (answered.name, answered.type, answered.shape) == (ACTION_OUTPUT, "tensor(int64)", ["batch"])
    served = ServedPolicy(exported)
    assert [len(served.act(sampled(BOX, size))) for size in (1, 3, 64)] == [1, 3, 64]


@pytest.mark.parametrize("action", ["discrete", "square box"])
def test_an_export_that_acts_differently_is_found(action: str) -> None:
    _, graph = untrained(BOX, ACTION_SPACES[action])
    exported = to_onnx(graph, BOX)
    with torch.no_grad():
        graph._policy.action_net.bias[0] += 0.05
    with pytest.raises(TrainingError, match=r"acts differently on \d+ of \d+ observations"):
        prove_equal(ServedPolicy(exported), graph, BOX, sampled(BOX))


def test_extreme_observations_reach_the_bounds_and_far_where_there_are_none() -> None:
    extremes = extreme_observations(BOX, sampled(BOX))
    assert extremes[:, 0].max() == 1
    assert extremes[:, 2].min() == -3
    assert extremes[:, 1].max() > 1e5
    assert np.isfinite(extremes).all()


@pytest.mark.parametrize(
    ("environment", "hyperparameters"),
    [("CartPole-v0", {}), ("Pendulum-v1", {"normalize": True, "use_sde": True}), ("FrozenLake-v1", {})],
)
def test_a_trained_policy_is_written_and_read_back(
    environment: str, hyperparameters: dict[str, Any], tmp_path: Path
) -> None:
    run(small_plan(environment, timesteps=800, **hyperparameters), tmp_path)
    folder = LocalStorage(tmp_path / "model")
    first, second = model.read(folder), model.read(folder)
    observations = sampled(first.observation_space)
    np.testing.assert_array_equal(first.graph.act(observations), second.graph.act(observations))
    assert first.document["environment"]["id"] == environment
    assert first.document["normalised"] == ("normalize" in hyperparameters)
    assert (tmp_path / "model" / model.NORMALISER).exists() == ("normalize" in hyperparameters)


@pytest.mark.parametrize("lost", [model.DOCUMENT, model.WEIGHTS, model.NORMALISER])
def test_an_incomplete_model_folder_is_refused(lost: str, tmp_path: Path) -> None:
    run(small_plan("Pendulum-v1", timesteps=400, normalize=True), tmp_path)
    (tmp_path / "model" / lost).unlink()
    with pytest.raises(UsageError, match="trained policy at"):
        model.read(LocalStorage(tmp_path / "model"))
