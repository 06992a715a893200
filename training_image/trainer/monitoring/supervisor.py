"""Watches over a training: stops it when it must stop, and ends it when its numbers are numbers no more."""

import math

import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback

from training_image.trainer.errors import NotFiniteError
from training_image.trainer.fast import FastModel
from training_image.trainer.recovery.stopping import Limits, Signals, Stop


class Supervisor(BaseCallback):
    """`stopped` says why training ended early, if it did."""

    def __init__(self, signals: Signals, limits: Limits, *, steps_per_check: int) -> None:
        """Numbers are looked at once in `steps_per_check` steps: some algorithms update with every one."""
        super().__init__()
        self._steps_per_check = steps_per_check
        self._checked = 0
        self._signals = signals
        self._limits = limits
        self.stopped: Stop | None = None

    def _on_step(self) -> bool:
        self.stopped = self._signals.stop() or self._limits.stop()
        return self.stopped is None

    def _on_rollout_start(self) -> None:
        check = self.model.num_timesteps // self._steps_per_check
        if check != self._checked:
            self._checked = check
            check_finite(self.model)


def check_finite(model: BaseAlgorithm) -> None:
    """Look at the losses of the last update and at every weight.

    Raises:
        NotFiniteError: when one is NaN or infinite.
    """
    for name, value in model.logger.name_to_value.items():
        if name.startswith("train/") and name.endswith("loss") and not math.isfinite(value):
            raise NotFiniteError(f"{name.removeprefix('train/')} is {value} after {model.num_timesteps} steps")
    if _weights_are_finite(model):
        return
    for name, weights in model.policy.state_dict().items():
        if not torch.isfinite(weights).all():
            raise NotFiniteError(f"weights {name} are no longer finite after {model.num_timesteps} steps")


def _weights_are_finite(model: BaseAlgorithm) -> bool:
    """Whether they are for certain: a norm may overflow where no weight has."""
    if isinstance(model, FastModel):
        return model.is_finite
    weights = list(model.policy.parameters())
    return bool(torch.isfinite(torch.nn.utils.get_total_norm(weights)))
