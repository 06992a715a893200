"""The quantile Huber loss, some samples at a time, is the library's; and so are TQC's updates by it."""

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from sb3_contrib import TQC
from sb3_contrib.common.utils import quantile_huber_loss as librarys
from sb3_contrib.tqc import tqc as library
from stable_baselines3.common.logger import Logger

from training_image.trainer import threads  # noqa: F401 - before numpy and torch
from training_image.trainer.fast import quantiles
from training_image.trainer.fast.quantiles import huber
from training_image.trainer.fast.tqc import FastTQC, quantile_huber_loss
from training_image.trainer.learning.optimiser import EagerAdam

AWAY = [-1.0, 0.0, 1.0, 1.5, -7.0]
"""Errors where Huber's loss or the weight changes its form, and others."""


def drawn(batch: int, count: int, samples: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    generator = np.random.default_rng(batch + count)
    current = generator.normal(0, 2, (batch, count)).astype(np.float32)
    targets = generator.normal(0, 2, (batch, samples)).astype(np.float32)
    for column, away in enumerate(AWAY[: min(count, samples)]):
        targets[:, column] = current[:, column] + np.float32(away)
    return current, targets


@pytest.mark.parametrize("at_once", [1, 200, 131_072], ids=["a sample at a time", "some, and fewer at the end", "all"])
@pytest.mark.parametrize("shape", [(7, 25, 25), (5, 5, 11), (64, 10, 10), (3, 170, 170), (1, 1, 1)])
def test_loss_and_gradient_are_the_librarys(
    shape: tuple[int, int, int], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantiles, "_AT_ONCE", at_once)
    current, targets = drawn(*shape)
    variable = torch.tensor(current, requires_grad=True)
    expected = librarys(variable, torch.tensor(targets))
    expected.backward()  # type: ignore[no-untyped-call]
    loss, gradient = huber(current, targets)
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)
    assert variable.grad is not None
    np.testing.assert_allclose(gradient, variable.grad.numpy(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_none_makes_a_loss_that_is_none(bad: float) -> None:
    """Whoever watches the loss ends the training by that."""
    current, targets = drawn(4, 25, 25)
    targets[2, 3] = bad
    with np.errstate(all="ignore"):
        assert not np.isfinite(huber(current, targets)[0])


def test_for_torch_it_is_the_mean_over_critics_too_and_has_a_gradient() -> None:
    current = torch.randn(9, 2, 25, generator=torch.Generator().manual_seed(0))
    targets = torch.randn(9, 1, 46, generator=torch.Generator().manual_seed(1))
    gradients, losses = [], []
    for function in (quantile_huber_loss, librarys):
        variable = (2 * current).requires_grad_()
        loss = function(variable, 2 * targets, sum_over_quantiles=False)
        (3 * loss).backward()  # type: ignore[no-untyped-call]
        assert variable.grad is not None
        gradients.append(variable.grad)
        losses.append(loss.detach())
    torch.testing.assert_close(losses[0], losses[1], rtol=1e-5, atol=0)
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-8)


def built(kind: type[TQC]) -> TQC:
    model = kind(
        "MlpPolicy",
        gymnasium.make("Pendulum-v1"),
        learning_starts=40,
        batch_size=64,
        buffer_size=500,
        learning_rate=1e-3,
        seed=5,
        device="cpu",
        policy_kwargs={"net_arch": [32, 32], "optimizer_class": EagerAdam, "optimizer_kwargs": {"fused": True}},
    )
    model.set_logger(Logger(None, []))
    return model


def test_updates_of_tqc_are_the_librarys() -> None:
    model = built(FastTQC).learn(60)
    other = built(TQC)
    other._setup_learn(60)
    parameters: Any = copy.deepcopy(model.get_parameters())
    other.set_parameters(parameters)
    assert model.log_ent_coef is not None
    assert other.log_ent_coef is not None
    other.log_ent_coef.data.copy_(model.log_ent_coef)  # which are not among its parameters
    other.replay_buffer = copy.deepcopy(model.replay_buffer)
    before = {name: tensor.clone() for name, tensor in model.policy.state_dict().items()}
    for trained in (model, other):
        np.random.seed(2)
        torch.manual_seed(3)
        trained.train(30, 64)
    theirs = other.policy.state_dict()
    assert max(float((tensor - before[name]).abs().max()) for name, tensor in theirs.items()) > 1e-2
    for name, tensor in theirs.items():
        torch.testing.assert_close(model.policy.state_dict()[name], tensor, rtol=0, atol=2e-5)
    measured, expected = model.logger.name_to_value, other.logger.name_to_value
    for name in ("train/critic_loss", "train/actor_loss", "train/ent_coef"):
        assert measured[name] == pytest.approx(expected[name], rel=1e-3)


def test_the_librarys_class_keeps_its_own_loss_also_after_an_update_that_fails() -> None:
    model = built(FastTQC).learn(60)
    assert library.quantile_huber_loss is librarys  # type: ignore[attr-defined]
    model.replay_buffer = None
    with pytest.raises(AttributeError):
        model.train(1, 64)
    assert library.quantile_huber_loss is librarys  # type: ignore[attr-defined]
