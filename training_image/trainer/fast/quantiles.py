"""The quantile Huber loss and its gradient, some samples at a time: every quantile meets every sample of its targets,
and all of these pairs at once do not fit into a processor's cache."""

import numpy as np

from training_image.trainer.fast.adam import Floats

_AT_ONCE = 131_072
"""Pairs of a quantile and a sample."""
_HALF = np.float32(0.5)


def huber(current: Floats, targets: Floats) -> tuple[float, Floats]:
    """The loss of quantiles `[batch, quantiles]` against samples of their targets `[batch, samples]`, and its gradient.

    Dabney et al. (2018), equation 10, with Huber's threshold at 1: summed over the quantiles, its mean over the samples
    and the batch. An error `e`, of which `c` is left between -1 and 1, has Huber's loss `c * (e - c / 2)` and its slope
    `c`. Both are weighted by the quantile's middle where `e` is positive, by one minus that where it is negative; sums
    over all samples, and of their absolute values, tell the two apart.
    """
    batch, count = current.shape
    samples = targets.shape[1]
    each = max(1, min(batch, _AT_ONCE // (count * samples)))
    errors, limited = np.empty((2, each, count, samples), np.float32)
    ones = np.ones(samples, np.float32)
    slopes, steepness, losses, sizes = np.empty((4, batch, count), np.float32)
    for start in range(0, batch, each):
        part = slice(start, start + each)
        error = np.subtract(targets[part, None, :], current[part, :, None], out=errors[: batch - start])
        limit = np.clip(error, -1, 1, out=limited[: len(error)])
        np.matmul(limit, ones, out=slopes[part])
        limit *= _HALF
        error -= limit
        np.vecdot(limit, error, out=losses[part])
        np.abs(limit, out=limit)
        np.matmul(limit, ones, out=steepness[part])
        np.vecdot(limit, error, out=sizes[part])
    middles = (np.arange(count, dtype=np.float32) + _HALF) / np.float32(count)
    lean = 2 * middles - 1
    scale = 1 / (batch * samples)
    loss = float(losses.sum(dtype=np.float64) + (sizes * lean).sum(dtype=np.float64)) * scale
    return loss, (slopes * _HALF + steepness * lean) * np.float32(-scale)
