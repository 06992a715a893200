"""DQN whose updates run in numpy. Everything else is Stable-Baselines3's."""

from typing import Any

import numpy as np
import numpy.typing as npt
from stable_baselines3 import DQN

from training_image.trainer.fast.adam import Floats
from training_image.trainer.fast.model import chosen
from training_image.trainer.fast.values import FastValues, unsupported


def dqn(*, fast: bool = True, **arguments: Any) -> DQN:
    """A model with these arguments of `DQN`: if `fast`, then on the fast path where that gives the same numbers."""
    return chosen(FastDQN, DQN, unsupported, fast=fast, arguments=arguments)


class FastDQN(FastValues, DQN):
    """DQN of a model that `unsupported` has nothing against."""

    def _values(self, outputs: Floats) -> Floats:
        return outputs

    def _targets(self, outputs: Floats, rewards: Floats, goes_on: Floats) -> Floats:
        return np.asarray(rewards + goes_on * np.float32(self.gamma) * outputs.max(axis=1))

    def _loss(self, outputs: Floats, actions: npt.NDArray[np.int64], targets: Floats) -> tuple[float, Floats]:
        """Huber's (1964) with a bend at 1, of the taken actions' values; its mean over the batch."""
        rows = np.arange(len(outputs))
        error = outputs[rows, actions] - targets
        slope = np.clip(error, -1, 1)
        loss = float(np.mean(slope * (error - np.float32(0.5) * slope)))
        d_outputs = np.zeros_like(outputs)
        d_outputs[rows, actions] = slope / np.float32(len(outputs))
        return loss, d_outputs
