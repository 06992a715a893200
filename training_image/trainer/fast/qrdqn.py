"""QR-DQN whose updates run in numpy. Everything else is sb3-contrib's."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sb3_contrib import QRDQN

from training_image.trainer.fast.adam import Floats
from training_image.trainer.fast.model import chosen
from training_image.trainer.fast.values import FastValues, unsupported


def qrdqn(*, fast: bool = True, **arguments: Any) -> QRDQN:
    """A model with these arguments of `QRDQN`: if `fast`, then on the fast path where that gives the same numbers."""
    return chosen(FastQRDQN, QRDQN, unsupported, fast=fast, arguments=arguments)


class FastQRDQN(FastValues, QRDQN):
    """QR-DQN of a model that `unsupported` has nothing against."""

    def _values(self, outputs: Floats) -> Floats:
        return np.asarray(self._quantiles(outputs).mean(axis=1))

    def _targets(self, outputs: Floats, rewards: Floats, goes_on: Floats) -> Floats:
        best = self._values(outputs).argmax(axis=1)
        quantiles = self._quantiles(outputs)[np.arange(len(outputs)), :, best]
        return np.asarray(rewards[:, None] + goes_on[:, None] * np.float32(self.gamma) * quantiles)

    def _loss(self, outputs: Floats, actions: npt.NDArray[np.int64], targets: Floats) -> tuple[float, Floats]:
        """The quantile Huber loss of Dabney et al. (2018), equation 10: every quantile of the action that was taken
        against every one of its target; summed over the first, its mean over the others and the batch."""
        rows, count = np.arange(len(outputs)), self.n_quantiles
        current = self._quantiles(outputs)[rows, :, actions]
        error = targets[:, None, :] - current[:, :, None]
        slope = np.clip(error, -1, 1)
        middles = (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count)
        weight = np.abs(middles[None, :, None] - (error < 0))
        error -= np.float32(0.5) * slope
        slope *= weight
        loss = float(np.vdot(slope, error)) / (len(outputs) * count)
        d_outputs = np.zeros_like(outputs)
        self._quantiles(d_outputs)[rows, :, actions] = slope.sum(axis=2) * np.float32(-1 / (len(outputs) * count))
        return loss, d_outputs

    def _quantiles(self, outputs: Floats) -> Floats:
        """Outputs as `[batch, quantiles, actions]`."""
        return outputs.reshape(len(outputs), self.n_quantiles, -1)
