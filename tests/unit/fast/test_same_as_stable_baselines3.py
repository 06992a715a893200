"""The fast path's rollouts and updates are Stable-Baselines3's, to within the rounding of single precision."""

import copy
import io
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from training_image.trainer import threads  # noqa: F401 - before numpy and torch
from training_image.trainer.fast.ppo import FastPPO
from training_image.trainer.learning.optimiser import EagerAdam

pytestmark = pytest.mark.filterwarnings("ignore:You have specified a mini-batch size:UserWarning")

TANH, RELU = torch.nn.Tanh, torch.nn.ReLU
ADAM = {"optimizer_class": EagerAdam, "optimizer_kwargs": {"eps": 1e-5, "fused": True}}
SAMPLES, UPDATES = 512, 64

CASES: dict[str, dict[str, Any]] = {
    "two actions, tanh": {"environment": "CartPole-v1"},
    "two actions, relu, entropy bonus": {"environment": "CartPole-v1", "activation": RELU, "ent_coef": 0.02},
    "one hidden layer": {"environment": "CartPole-v1", "net_arch": [32]},
    "wide": {"environment": "CartPole-v1", "net_arch": [256, 256]},
    "three actions, normalised": {"environment": "Acrobot-v1", "normalize": True, "ent_coef": 0.01},
    "last minibatch smaller, no advantage normalisation": {
        "environment": "Acrobot-v1",
        "batch_size": 60,
        "normalize_advantage": False,
        "max_grad_norm": 5.0,
    },
    "continuous, tanh, entropy bonus": {"environment": "Pendulum-v1", "ent_coef": 0.01},
    "continuous, relu, three layers, normalised": {
        "environment": "Pendulum-v1",
        "activation": RELU,
        "net_arch": [128, 64, 32],
        "normalize": True,
    },
}


class Steps(BaseCallback):
    """Keeps what the environment gave at each step, as the callbacks of the trainer may read it."""

    def __init__(self) -> None:
        super().__init__()
        self.rewards: list[Any] = []
        self.infos: list[Any] = []
        self.dones: list[Any] = []

    def _on_step(self) -> bool:
        self.rewards.append(np.array(self.locals["rewards"]))
        self.infos.append(copy.deepcopy(self.locals["infos"]))
        self.dones.append(np.array(self.locals["dones"]))
        return True


def vectorised(environment: str, normalize: bool, time_limit: int = 15) -> VecEnv:
    """Four copies with episodes short enough to be cut by their time limit in a rollout."""
    copies: VecEnv = DummyVecEnv(
        [lambda: Monitor(gymnasium.make(environment, max_episode_steps=time_limit)) for _ in range(4)]
    )
    return VecNormalize(copies) if normalize else copies


def built(
    kind: type[PPO],
    environment: str,
    *,
    normalize: bool = False,
    net_arch: list[int] | None = None,
    activation: Any = TANH,
    batch_size: int = 64,
    **arguments: Any,
) -> PPO:
    model = kind(
        "MlpPolicy",
        vectorised(environment, normalize),
        n_steps=SAMPLES // 4,
        batch_size=batch_size,
        learning_rate=lambda left: 1e-3 * left,
        clip_range=lambda left: 0.2 * left,
        n_epochs=UPDATES // 8,
        seed=3,
        device="cpu",
        policy_kwargs={"net_arch": net_arch or [64, 64], "activation_fn": activation, **ADAM},
        **arguments,
    )
    model.set_logger(Logger(None, []))
    return model


def rolled_out(case: dict[str, Any]) -> tuple[FastPPO, Steps]:
    """A fast model that has learnt a little, with the buffer of its next rollout."""
    model = built(FastPPO, **case)
    assert isinstance(model, FastPPO)
    steps = Steps()
    _, callback = model._setup_learn(10_000, steps)
    collect(model, callback)
    model.train()
    steps.rewards.clear(), steps.infos.clear(), steps.dones.clear()
    collect(model, callback)
    return model, steps


def collect(model: PPO, callback: BaseCallback) -> None:
    assert model.env is not None
    assert model.collect_rollouts(model.env, callback, model.rollout_buffer, model.n_steps)


def twin(model: FastPPO, case: dict[str, Any]) -> PPO:
    """Stable-Baselines3's own class with the same parameters, Adam state and buffer."""
    other = built(PPO, **case)
    other.set_parameters(copy.deepcopy(model.get_parameters()))
    other.rollout_buffer = copy.deepcopy(model.rollout_buffer)
    other._n_updates = model._n_updates
    return other


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_updates_move_parameters_and_adam_moments_alike(case: dict[str, Any]) -> None:
    model, _ = rolled_out(case)
    other = twin(model, case)
    before = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
    for trained in (model, other):
        trained._update_current_progress_remaining(2_000, 10_000)
        np.random.seed(11)  # the permutations of the rollout come from here
        trained.train()

    state = model.policy.optimizer.state_dict()["state"]
    steps = {float(moments["step"]) for moments in state.values()}
    assert len(steps) == 1
    assert min(steps) >= 2 * 60  # of the twin's own updates there are at least 60
    moved = max(float((tensor - before[name]).abs().max()) for name, tensor in other.policy.state_dict().items())
    assert moved > 3e-3
    for name, theirs in other.policy.state_dict().items():
        torch.testing.assert_close(model.policy.state_dict()[name], theirs, rtol=0, atol=1e-6)
    for index, theirs in other.policy.optimizer.state_dict()["state"].items():
        assert float(state[index]["step"]) == float(theirs["step"])
        for moment in ("exp_avg", "exp_avg_sq"):
            torch.testing.assert_close(state[index][moment], theirs[moment], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_same_is_measured_of_an_update(case: dict[str, Any]) -> None:
    model, _ = rolled_out(case)
    other = twin(model, case)
    for trained in (model, other):
        np.random.seed(11)
        trained.train()
    ours, theirs = model.logger.name_to_value, other.logger.name_to_value
    assert set(ours) == set(theirs)
    for name in set(ours) - {"train/loss"}:  # that is Stable-Baselines3's last minibatch's, and here the mean
        assert ours[name] == pytest.approx(theirs[name], rel=1e-3, abs=3e-6), name


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_buffer_holds_what_the_policy_says_of_the_rollout(case: dict[str, Any]) -> None:
    """Values, log-probabilities, bootstraps at time limits, advantages and returns, computed again by torch."""
    model, steps = rolled_out(case)
    buffer, policy = model.rollout_buffer, model.policy
    dtype = np.int64 if isinstance(model.action_space, gymnasium.spaces.Discrete) else np.float32
    again = copy.deepcopy(buffer)
    again.reset()
    truncations = 0
    with torch.no_grad():
        for step in range(buffer.buffer_size):
            observed = torch.as_tensor(buffer.observations[step]).float()
            actions = torch.as_tensor(buffer.actions[step].astype(dtype))
            values, log_probs, _ = policy.evaluate_actions(
                observed, actions.flatten() if dtype == np.int64 else actions
            )
            rewards = steps.rewards[step].copy()
            for copy_index in np.flatnonzero(steps.dones[step]):
                info = steps.infos[step][copy_index]
                if info["TimeLimit.truncated"]:
                    truncations += 1
                    terminal = policy.obs_to_tensor(info["terminal_observation"])[0]
                    rewards[copy_index] += model.gamma * float(policy.predict_values(terminal))
            again.add(
                buffer.observations[step], buffer.actions[step], rewards, buffer.episode_starts[step], values, log_probs
            )
        last = policy.predict_values(policy.obs_to_tensor(model._last_obs)[0])
    again.compute_returns_and_advantage(last_values=last, dones=steps.dones[-1])

    assert truncations > 3
    np.testing.assert_array_equal(buffer.episode_starts[1:], np.array(steps.dones[:-1]))
    for name in ("values", "log_probs", "rewards", "advantages", "returns"):
        np.testing.assert_allclose(getattr(buffer, name), getattr(again, name), rtol=1e-5, atol=2e-5, err_msg=name)
    np.testing.assert_allclose(buffer.log_probs, again.log_probs, rtol=1e-6, atol=3e-6)


@pytest.mark.parametrize("environment", ["CartPole-v1", "Acrobot-v1", "Pendulum-v1"])
def test_actions_are_drawn_from_the_policys_distribution(environment: str) -> None:
    model = built(FastPPO, environment)
    assert isinstance(model, FastPPO)
    network = model._bound()
    observation = np.asarray(model.env.reset(), np.float32)[:1]  # type: ignore[union-attr]
    np.random.seed(0)
    scores, _ = network.forward(np.repeat(observation, 40_000, axis=0))
    _, actions = model._actions.draw(scores, model._actions.noise(1, 40_000)[0])
    with torch.no_grad():
        distribution: Any = model.policy.get_distribution(torch.as_tensor(observation)).distribution
    if environment == "Pendulum-v1":
        assert actions.mean() == pytest.approx(float(distribution.mean), abs=0.02)
        assert actions.std() == pytest.approx(float(distribution.stddev), rel=0.02)
    else:
        drawn = np.bincount(actions, minlength=distribution.probs.shape[1]) / len(actions)
        np.testing.assert_allclose(drawn, distribution.probs[0].numpy(), atol=0.01)


def test_saved_by_the_fast_path_and_loaded_by_stable_baselines3() -> None:
    model, _ = rolled_out(CASES["two actions, tanh"])
    archive = io.BytesIO()
    model.save(archive)
    archive.seek(0)
    loaded = PPO.load(archive, device="cpu")
    for name, tensor in model.policy.state_dict().items():
        assert torch.equal(loaded.policy.state_dict()[name], tensor)
    observation = np.zeros(4, np.float32)
    assert loaded.predict(observation, deterministic=True)[0] == model.predict(observation, deterministic=True)[0]


def test_parameters_that_are_set_are_the_ones_that_learn_on() -> None:
    case = CASES["two actions, tanh"]
    model, _ = rolled_out(case)
    other = built(FastPPO, **case)
    other._setup_learn(10_000)
    other.train()  # it has shared memory of its own by now
    other.set_parameters(copy.deepcopy(model.get_parameters()))
    other.rollout_buffer = copy.deepcopy(model.rollout_buffer)
    for trained in (model, other):
        np.random.seed(5)
        trained.train()
    for name, tensor in model.policy.state_dict().items():
        assert torch.equal(other.policy.state_dict()[name], tensor)
