"""The fast path of DQN and QR-DQN draws, learns and acts as the libraries' own classes do, to within rounding."""

import copy
import io
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import QRDQN
from stable_baselines3 import DQN
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from training_image.trainer import threads  # noqa: F401 - before numpy and torch
from training_image.trainer.fast.dqn import FastDQN
from training_image.trainer.fast.qrdqn import FastQRDQN
from training_image.trainer.fast.values import networks_of, unsupported
from training_image.trainer.learning.optimiser import EagerAdam

TANH, RELU = torch.nn.Tanh, torch.nn.ReLU
UPDATES = 64
NO_TIMEOUTS = {"handle_timeout_termination": False}
KINDS: dict[str, tuple[Any, Any]] = {"dqn": (FastDQN, DQN), "qrdqn": (FastQRDQN, QRDQN)}
CASES: dict[str, dict[str, Any]] = {
    "two actions, relu": {"environment": "CartPole-v1"},
    "three actions, tanh, three layers": {
        "environment": "Acrobot-v1",
        "activation": TANH,
        "net_arch": [128, 64, 32],
    },
    "normalised": {"environment": "Acrobot-v1", "normalize": True},
    "no hidden layer, gradients clipped hard": {"environment": "CartPole-v1", "net_arch": [], "max_grad_norm": 0.1},
    "wide, large batches": {"environment": "MountainCar-v0", "net_arch": [256, 256], "batch_size": 200},
}
both = pytest.mark.parametrize("kind", KINDS)
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def copies_of(environment: str, normalize: bool) -> VecEnv:
    """Three copies, with episodes short enough to be cut by their time limit."""
    copies: VecEnv = DummyVecEnv([lambda: Monitor(gymnasium.make(environment, max_episode_steps=15)) for _ in range(3)])
    return VecNormalize(copies) if normalize else copies


def built(
    kind: Any,
    environment: str = "CartPole-v1",
    *,
    normalize: bool = False,
    net_arch: list[int] | None = None,
    activation: Any = RELU,
    batch_size: int = 32,
    **arguments: Any,
) -> Any:
    quantiles = {"n_quantiles": 7} if issubclass(kind, QRDQN) else {}
    model = kind(
        "MlpPolicy",
        copies_of(environment, normalize),
        batch_size=batch_size,
        buffer_size=3000,
        learning_starts=60,
        learning_rate=lambda left: 3e-3 * left,
        train_freq=20,
        gradient_steps=10,
        target_update_interval=100,
        exploration_fraction=1.0,
        seed=3,
        device="cpu",
        policy_kwargs={
            "net_arch": [64, 64] if net_arch is None else net_arch,
            "activation_fn": activation,
            "optimizer_class": EagerAdam,
            "optimizer_kwargs": {"fused": True},
            **quantiles,
        },
        **arguments,
    )
    model.set_logger(Logger(None, []))
    return model


def learnt(kind: Any, case: dict[str, Any]) -> Any:
    """A model in the middle of its training, with a target network that is behind."""
    return built(kind, **case).learn(480)


def twin(model: Any, kind: Any, case: dict[str, Any]) -> Any:
    """Another class's model with the same parameters, Adam state and memories."""
    other = built(kind, **case)
    other.set_parameters(copy.deepcopy(model.get_parameters()))
    other.replay_buffer = copy.deepcopy(model.replay_buffer)
    if case.get("normalize"):
        other.env.obs_rms, other.env.ret_rms = copy.deepcopy((model.env.obs_rms, model.env.ret_rms))
    return other


def updated(model: Any, updates: int = UPDATES) -> int:
    """Some updates from the same seed; the next number that numpy's generator gives after them."""
    model._update_current_progress_remaining(200, 1000)
    np.random.seed(11)  # transitions are drawn by it
    model.train(updates, model.batch_size)
    return int(np.random.randint(1 << 30))


@both
@every_case
def test_updates_move_parameters_and_adam_moments_alike_and_measure_the_same(kind: str, case: dict[str, Any]) -> None:
    fast, own = KINDS[kind]
    model = learnt(fast, case)
    assert unsupported(model) is None
    other = twin(model, own, case)
    before = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
    assert updated(model) == updated(other), "as many numbers were drawn"
    ours, theirs = model.policy.state_dict(), other.policy.state_dict()
    assert max(float((tensor - before[name]).abs().max()) for name, tensor in theirs.items()) > 3e-3
    for name, tensor in theirs.items():
        torch.testing.assert_close(ours[name], tensor, rtol=0, atol=5e-6)
    moments = model.policy.optimizer.state_dict()["state"]
    for index, expected in other.policy.optimizer.state_dict()["state"].items():
        assert float(moments[index]["step"]) == float(expected["step"]) > UPDATES
        for moment in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(moments[index][moment], expected[moment], rtol=1e-4, atol=1e-5)
    measured, expected = model.logger.name_to_value, other.logger.name_to_value
    assert measured["train/loss"] == pytest.approx(expected["train/loss"], rel=1e-4)
    assert measured["train/n_updates"] == model._n_updates == other._n_updates + 70


@both
def test_a_whole_training_is_the_librarys_until_rounding_tells_them_apart(kind: str) -> None:
    """Exploration, actions, what is remembered, when the target network follows: all drawn and done alike."""
    fast, own = KINDS[kind]
    model, other = (built(each).learn(600) for each in (fast, own))
    for name in ("observations", "actions", "rewards", "dones", "timeouts"):
        np.testing.assert_array_equal(getattr(model.replay_buffer, name), getattr(other.replay_buffer, name))
    assert model.replay_buffer.timeouts.sum() > 3
    assert model._n_updates == other._n_updates > 80
    for name, tensor in other.policy.state_dict().items():
        torch.testing.assert_close(model.policy.state_dict()[name], tensor, rtol=0, atol=2e-5)


@both
@every_case
def test_it_acts_as_the_librarys_policy_does(kind: str, case: dict[str, Any]) -> None:
    model = learnt(KINDS[kind][0], case)
    raw = np.random.default_rng(0).normal(size=(200, *model.observation_space.shape)).astype(np.float32)
    seen = model.env.normalize_obs(raw) if case.get("normalize") else raw
    layers = networks_of(model.policy)[0]
    with torch.no_grad():  # so that no action is the best everywhere; the fast path's memory is the same
        layers[-1].bias -= layers(torch.as_tensor(seen, dtype=torch.float32)).mean(dim=0)
    expected, _ = model.policy.predict(seen, deterministic=True)
    assert len(set(expected.tolist())) > 1
    np.testing.assert_array_equal(model.act(raw), expected)
    np.testing.assert_array_equal(model.predict(seen, deterministic=True)[0], expected)
    alone, _ = model.predict(seen[0], deterministic=True)
    assert (alone.shape, alone.dtype) == ((), expected.dtype)
    assert alone == expected[0]


@both
def test_saved_by_the_fast_path_and_loaded_by_the_library(kind: str) -> None:
    fast, own = KINDS[kind]
    model = learnt(fast, CASES["two actions, relu"])
    archive = io.BytesIO()
    model.save(archive)
    archive.seek(0)
    loaded: OffPolicyAlgorithm = own.load(archive, device="cpu")
    for name, tensor in model.policy.state_dict().items():
        assert torch.equal(loaded.policy.state_dict()[name], tensor)


@both
def test_parameters_that_are_set_are_the_ones_that_learn_on(kind: str) -> None:
    fast, case = KINDS[kind][0], CASES["two actions, relu"]
    model = learnt(fast, case)
    other = learnt(fast, {**case, "gamma": 0.5})  # it has shared memory of its own by now
    other.gamma = model.gamma
    other.set_parameters(copy.deepcopy(model.get_parameters()))
    other.replay_buffer = copy.deepcopy(model.replay_buffer)
    for trained in (model, other):
        updated(trained, 8)
    for name, tensor in model.policy.state_dict().items():
        assert torch.equal(other.policy.state_dict()[name], tensor)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({"n_steps": 3}, "its replay buffer is not the plain one"),
        (
            {"replay_buffer_kwargs": {"handle_timeout_termination": False}, "optimize_memory_usage": True},
            "replay buffer",
        ),
        ({"activation": torch.nn.ELU}, "its activation is neither tanh nor ReLU"),
    ],
)
def test_what_it_does_not_compute_it_leaves_to_the_library(arguments: dict[str, Any], why: str) -> None:
    assert why in str(unsupported(built(DQN, **arguments)))
