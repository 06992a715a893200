"""TQC whose loss is computed some samples at a time. Everything else is sb3-contrib's, in torch.

The loss meets each of 50 quantiles with each of 46 samples, for every transition of a batch: millions of numbers, which
torch writes to memory and reads again some twenty times, half of an update.
"""

from typing import Any

import numpy as np
import torch
from sb3_contrib import TQC
from sb3_contrib.tqc import tqc

from training_image.trainer.fast.quantiles import huber

library: Any = tqc  # whose name for the loss is another function's while `FastTQC` trains
_librarys_loss = library.quantile_huber_loss


class FastTQC(TQC):
    """TQC with another way to the same loss, on a CPU."""

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Update the weights from transitions of the replay buffer, as the library's class does."""
        if self.device.type != "cpu":
            return super().train(gradient_steps, batch_size)
        library.quantile_huber_loss = quantile_huber_loss
        try:
            super().train(gradient_steps, batch_size)
        finally:
            library.quantile_huber_loss = _librarys_loss


def quantile_huber_loss(
    current_quantiles: torch.Tensor, target_quantiles: torch.Tensor, *, sum_over_quantiles: bool
) -> torch.Tensor:
    """What sb3-contrib's function of that name returns for TQC: quantiles `[batch, critics, quantiles]` against
    `[batch, 1, samples]`, the mean over all of them."""
    assert not sum_over_quantiles, "TQC takes the mean"
    loss: torch.Tensor = _Loss.apply(current_quantiles, target_quantiles)  # type: ignore[no-untyped-call]
    return loss


class _Loss(torch.autograd.Function):
    """`huber`, for torch to differentiate."""

    @staticmethod
    def forward(context: Any, current: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        critics, count = current.shape[1:]
        each = targets.expand(-1, critics, -1).reshape(-1, targets.shape[2])
        with np.errstate(all="ignore"):  # numbers that overflow are found by whoever watches losses and weights
            loss, gradient = huber(current.detach().numpy().reshape(-1, count), each.numpy())
        context.save_for_backward(torch.from_numpy(gradient).view_as(current) / count)
        return torch.tensor(loss / count)

    @staticmethod
    def backward(context: Any, d_loss: torch.Tensor) -> Any:
        (gradient,) = context.saved_tensors
        return gradient * d_loss, None
