"""Policies that play side by side find what each finds alone."""

from typing import Any

import numpy as np
import pytest
import torch
from stable_baselines3.common.logger import Logger

from contract.run import EnvironmentSection
from tests.unit.training_image.helpers import small_plan
from training_image.trainer.envs import environments, native
from training_image.trainer.envs.normalising import normalised
from training_image.trainer.fast.frozen import Actor, freeze
from training_image.trainer.fast.playing import can_play_together, play_together
from training_image.trainer.learning import algorithms
from training_image.trainer.monitoring.evaluations import policy_of
from training_image.trainer.policies.evaluation import play

SEED = 2**33


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "hyperparameters", [{"activation": "relu"}, {"normalize": True, "net_arch": [8, 8]}], ids=["relu", "normalised"]
)
def test_each_plays_as_it_does_alone(hyperparameters: dict[str, Any], fast: bool) -> None:
    plan = small_plan("CartPole-v0", fast=fast, learning_rate=0.02, **hyperparameters)
    environment: Any = environments.make(plan.specification.environment, 2)
    if plan.hyperparameters.normalize:  # type: ignore[attr-defined]
        environment = normalised(environment, 0.99)
    model = algorithms.build("ppo", environment, plan.hyperparameters, 1)
    model.set_logger(Logger(None, []))
    actors: list[Actor] = []
    alone = []
    for number in range(4):
        model.learn(1600 * number, reset_num_timesteps=False, log_interval=None)
        with torch.no_grad():  # one that balances, one that falls at once, and what was learnt
            if number == 0:
                model.policy.action_net.bias += torch.tensor([9.0, 0.0])  # type: ignore[union-attr, operator]
        frozen = freeze(model)
        assert frozen is not None
        actors.append(frozen)
        alone.append(play(policy_of(model), plan.specification.environment, episodes=12, seed=SEED, record=False))
        with torch.no_grad():
            if number == 0:
                model.policy.action_net.bias -= torch.tensor([9.0, 0.0])  # type: ignore[union-attr, operator]
    returns, lengths = play_together(actors, plan.specification.environment, episodes=12, seed=SEED)
    np.testing.assert_array_equal(returns, [one.returns for one in alone])
    np.testing.assert_array_equal(lengths, [one.lengths for one in alone])
    assert lengths[0].max() < 20 < lengths[-1].max()
    again, _ = play_together(actors[2:3], plan.specification.environment, episodes=12, seed=SEED)
    np.testing.assert_array_equal(again[0], returns[2], "whoever plays beside does not matter")


def test_only_what_is_alike_plays_together() -> None:
    cartpole = EnvironmentSection(id="CartPole-v1")
    assert can_play_together(cartpole, 100)
    assert not can_play_together(cartpole, 1000), "a copy of the environment for each episode"
    assert not can_play_together(EnvironmentSection(id="CartPole-v1", frame_stack=2), 100)
    assert not can_play_together(EnvironmentSection(id="Acrobot-v1"), 100)
    assert not native.is_native("Acrobot-v1")
    for environment, algorithm, given in (
        ("Pendulum-v1", "ppo", {}),
        ("FrozenLake-v1", "ppo", {}),
        ("CartPole-v1", "dqn", {"buffer_size": 10}),
    ):
        plan = small_plan(environment, algorithm=algorithm, **given)
        copies = environments.make(plan.specification.environment, 1)
        assert freeze(algorithms.build(algorithm, copies, plan.hyperparameters, 0)) is None
