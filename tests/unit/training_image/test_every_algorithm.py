"""Every algorithm of the contract trains, survives a kill exactly, and acts when exported as it was trained."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from contract.algorithms import ALGORITHMS
from contract.outcomes import ExitCode
from contract.run import EnvironmentSection
from tests.unit.training_image.helpers import (
    assert_acts_as_trained,
    assert_resumes_exactly,
    run,
    small_plan,
)
from training_image.trainer.envs import observations as batches
from training_image.trainer.policies import model
from training_image.trainer.policies.evaluation import play
from training_image.trainer.policies.export import to_onnx
from training_image.trainer.policies.served import ServedPolicy
from training_image.trainer.recovery import replay
from training_image.trainer.storage import LocalStorage

ON_POLICY = {"n_envs": 2, "net_arch": [8]}
ROLLOUT = ON_POLICY | {"n_steps": 100}
CLIPPED = ROLLOUT | {"batch_size": 100, "n_epochs": 2}
REPLAY = {"net_arch": [8], "buffer_size": 1500, "batch_size": 16, "learning_starts": 100, "train_freq": 8} | {
    "gradient_steps": 1
}
GREEDY = REPLAY | {"target_update_interval": 100, "exploration_fraction": 0.5}

CONFIGURATIONS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ppo": ("ppo", "Pendulum-v1", CLIPPED | {"normalize": True, "use_sde": False}),
    "a2c": ("a2c", "CartPole-v0", ROLLOUT | {"learning_rate": "lin_7e-4"}),
    "a2c, normalised, noise": ("a2c", "Pendulum-v1", ROLLOUT | {"normalize": True, "use_sde": True}),
    "reinforce": ("reinforce", "CartPole-v0", ON_POLICY | {"n_episodes": 2}),
    "reinforce, continuous": ("reinforce", "Pendulum-v1", {"n_episodes": 1, "normalize": True}),
    "recurrent-ppo": ("recurrent-ppo", "CartPole-v0", CLIPPED | {"lstm_hidden_size": 8, "n_epochs": 1, "n_steps": 50}),
    "maskable-ppo": ("maskable-ppo", "Taxi-v4", CLIPPED),
    "dqn": ("dqn", "CartPole-v0", GREEDY),
    "dqn, two at a time, normalised": ("dqn", "CartPole-v0", GREEDY | {"n_envs": 2, "normalize": True}),
    "qrdqn": ("qrdqn", "CartPole-v0", GREEDY | {"n_quantiles": 5}),
    "sac": ("sac", "Pendulum-v1", REPLAY),
    "sac, noise, fixed entropy": ("sac", "Pendulum-v1", REPLAY | {"use_sde": True, "ent_coef": 0.1}),
    "td3": ("td3", "Pendulum-v1", REPLAY | {"noise_type": "ornstein-uhlenbeck"}),
    "td3, two at a time, normalised": ("td3", "Pendulum-v1", REPLAY | {"n_envs": 2, "normalize": True}),
    "tqc": ("tqc", "Pendulum-v1", REPLAY | {"n_quantiles": 5}),
    "q-learning": ("q-learning", "FrozenLake-v1", {}),
}


@pytest.fixture(params=CONFIGURATIONS.values(), ids=CONFIGURATIONS.keys(), scope="module")
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A plan, and the folder of its uninterrupted training."""
    algorithm, environment, hyperparameters = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(replay, "BLOCK", 400)
        plan = small_plan(environment, algorithm=algorithm, timesteps=2400, **hyperparameters)
        folder = tmp_path_factory.mktemp("whole")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert run(plan, folder).exit_code == ExitCode.DONE
    return plan, folder


def test_every_algorithm_is_here() -> None:
    acting = {name for name, one in ALGORITHMS.items() if not one.is_offline}  # the others: test_offline.py
    assert {algorithm for algorithm, _, _ in CONFIGURATIONS.values()} == acting


def test_resumed_after_a_kill_equals_uninterrupted(
    trained: tuple[Any, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "BLOCK", 400)
    plan, whole = trained
    assert_resumes_exactly(plan, whole, tmp_path, killed_at=1600)


def test_the_exported_policy_acts_as_the_trained_one(trained: tuple[Any, Path]) -> None:
    plan, folder = trained
    read = model.read(LocalStorage(folder / "model"))
    met = play(read.graph, EnvironmentSection(id=plan.environment), episodes=4, seed=2**32)
    exported = to_onnx(read.graph, read.observation_space)
    assert_acts_as_trained(ServedPolicy(exported), read.graph, read.observation_space, met.observations)


def test_the_exported_policy_acts_as_the_model_predicts(tmp_path: Path) -> None:
    """Against Stable-Baselines3's own `predict`, which stretches and squashes by itself."""
    from training_image.trainer.envs import environments
    from training_image.trainer.learning import algorithms
    from training_image.trainer.learning.hyperparameters import resolve
    from training_image.trainer.policies.graph import graph_of

    for algorithm, environment in (("sac", "Pendulum-v1"), ("td3", "Pendulum-v1"), ("tqc", "Pendulum-v1")):
        made = environments.make(EnvironmentSection(id=environment), 1)
        built = algorithms.build(algorithm, made, resolve(algorithm, environment, {"buffer_size": 10}), 3)
        observations = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
        expected, _ = built.predict(observations, deterministic=True)
        np.testing.assert_allclose(
            graph_of(built.policy, None, built.observation_space).act(observations), expected, rtol=1e-5, atol=1e-6
        )
        assert np.abs(expected).max() > 0.05
    for algorithm in ("dqn", "qrdqn"):
        made = environments.make(EnvironmentSection(id="CartPole-v1"), 1)
        built = algorithms.build(algorithm, made, resolve(algorithm, "CartPole-v1", {"buffer_size": 10}), 3)
        observations = np.random.default_rng(0).normal(size=(200, 4)).astype(np.float32)
        expected, _ = built.predict(observations, deterministic=True)
        np.testing.assert_array_equal(graph_of(built.policy, None, built.observation_space).act(observations), expected)
        assert set(expected) == {0, 1}


def test_drawn_actions_are_those_of_the_policys_own_distribution(trained: tuple[Any, Path]) -> None:
    """The same observation again and again: what the exported policy draws, and what Stable-Baselines3 does."""
    plan, folder = trained
    graph = model.read(LocalStorage(folder / "model")).graph
    space = model.read(LocalStorage(folder / "model")).observation_space
    served = ServedPolicy(to_onnx(graph, space))
    if graph.noise is None:
        assert plan.specification.algorithm.name in {"dqn", "qrdqn", "td3", "q-learning"}
        return
    count = 3000
    space.seed(3)
    observations = np.stack([space.sample()] * count).astype(batches.input_dtype(space))
    generator = np.random.default_rng(1)
    draw: dict[str, Any] = {"normal": generator.standard_normal, "gumbel": generator.gumbel}
    noise = draw[graph.noise](size=(count, graph.noise_size)).astype(np.float32)
    ours, _ = served.answer(observations, noise=noise)
    theirs = _drawn_by_stable_baselines3(graph, observations)
    assert ours.shape == theirs.shape
    assert len(np.unique(ours, axis=0)) > 1
    if ours.dtype.kind == "f":
        for own, its in zip(ours.reshape(count, -1).T, theirs.reshape(count, -1).T, strict=True):
            assert stats.ks_2samp(own, its).pvalue > 1e-4
    else:
        choices = int(max(ours.max(), theirs.max())) + 1
        own, its = (np.bincount(actions, minlength=choices) / count for actions in (ours, theirs))
        assert np.abs(own - its).max() < 4 * np.sqrt(0.5 / count)
    np.testing.assert_array_equal(served.answer(observations, noise=0 * noise)[0], served.act(observations))


def _drawn_by_stable_baselines3(graph: Any, observations: Any) -> Any:
    policy = graph._policy
    torch.manual_seed(0)
    if getattr(policy, "use_sde", False):
        policy.reset_noise(len(observations))
    elif getattr(getattr(policy, "actor", None), "use_sde", False):
        policy.actor.reset_noise(len(observations))
    prepared = graph.prepared(torch.as_tensor(observations)).numpy()
    return policy.predict(prepared, deterministic=False)[0]
