"""QR-DQN whose updates run in numpy. Everything else is sb3-contrib's."""

from typing import Any

import numpy as np
import numpy.typing as npt
from sb3_contrib import QRDQN

from training_image.trainer.fast.adam import Floats
from training_image.trainer.fast.model import chosen
from training_image.trainer.fast.quantiles import huber
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
        rows = np.arange(len(outputs))
        loss, d_current = huber(self._quantiles(outputs)[rows, :, actions], targets)
        d_outputs = np.zeros_like(outputs)
        self._quantiles(d_outputs)[rows, :, actions] = d_current
        return loss, d_outputs

    def _quantiles(self, outputs: Floats) -> Floats:
        """Outputs as `[batch, quantiles, actions]`."""
        return outputs.reshape(len(outputs), self.n_quantiles, -1)
