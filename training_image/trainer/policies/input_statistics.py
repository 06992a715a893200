"""How observations are distributed: what drift is measured against once the policy serves."""

from typing import Any

import numpy as np
import numpy.typing as npt

from contract.policy import MOST_ELEMENTS, Statistics
from training_image.trainer.envs import observations as batches
from training_image.trainer.envs.observations import Batch

_DECILES = np.arange(1, 10) / 10


def describe(observations: Batch) -> dict[str, Statistics]:
    """The statistics of each input of the exported graph."""
    return {name: _describe(array) for name, array in batches.inputs(observations).items()}


def _describe(array: npt.NDArray[Any]) -> Statistics:
    flat = array.reshape(len(array), -1).astype(np.float64)
    if flat.shape[1] > MOST_ELEMENTS:
        flat = flat[:, np.linspace(0, flat.shape[1] - 1, MOST_ELEMENTS).round().astype(int)]
    edges, shares = [], []
    for column in flat.T:
        edge = np.unique(np.quantile(column, _DECILES))
        counts = np.bincount(np.searchsorted(edge, column, side="right"), minlength=len(edge) + 1)
        edges.append(edge.tolist())
        shares.append((counts / len(column)).tolist())
    mean, std = flat.mean(axis=0), flat.std(axis=0)
    return Statistics(count=len(flat), mean=mean.tolist(), std=std.tolist(), edges=edges, shares=shares)
