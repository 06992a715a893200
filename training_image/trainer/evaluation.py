"""A policy plays episodes, many side by side."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from training_image.trainer import environments
from training_image.trainer.graph import MaskedGraph, Player, RecurrentGraph, input_dtype

MOST_COPIES = 128
MOST_OBSERVATIONS = 20_000
MOST_BYTES = 2**28
"""Of recorded observations; pictures are large."""

HELD_OUT_SEEDS = 2**32
"""Evaluation seeds begin here. Training seeds environments below 2**31 plus the number of copies."""


class Policy(Protocol):
    """Whoever can act."""

    def act(self, observations: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Deterministic actions of shape `[batch, *action_shape]` for observations of shape `[batch, *shape]`."""
        ...


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """Returns and lengths of the episodes, and observations that the policy met, spread over all of them."""

    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    observations: npt.NDArray[Any]


def play(policy: Policy, environment_id: str, kwargs: dict[str, Any], *, episodes: int, seed: int) -> Episodes:
    """Play episodes with the policy's deterministic actions.

    How many episodes each copy of the environment plays is fixed beforehand: taking whichever end first would favour
    short ones.
    """
    copies = min(episodes, MOST_COPIES)
    wanted = np.full(copies, episodes // copies)
    wanted[: episodes % copies] += 1
    environment = environments.make(environment_id, kwargs, copies)
    player = Player(policy, copies) if isinstance(policy, RecurrentGraph) else policy
    dtype = input_dtype(environment.observation_space)
    returns: list[float] = []
    lengths: list[int] = []
    recorder = _Recorder()
    try:
        environment.seed(seed)
        observations = np.asarray(environment.reset()).astype(dtype, copy=False)
        while wanted.any():
            recorder.add(observations[wanted > 0])
            if isinstance(player, MaskedGraph):
                actions = player.choose(observations, np.stack(environment.env_method("action_masks")))
            else:
                actions = player.act(observations)
            met, _, dones, infos = environment.step(actions)
            if isinstance(player, Player):
                player.forget(dones)
            observations = np.asarray(met).astype(dtype, copy=False)
            for copy in np.flatnonzero(dones & (wanted > 0)):
                wanted[copy] -= 1
                returns.append(infos[copy]["episode"]["r"])
                lengths.append(infos[copy]["episode"]["l"])
    finally:
        environment.close()
    return Episodes(returns=np.array(returns), lengths=np.array(lengths), observations=recorder.observations)


class _Recorder:
    """Keeps at most `MOST_OBSERVATIONS` and `MOST_BYTES`, evenly spread: when there are too many, every second is
    dropped and from then on half as many are taken."""

    def __init__(self) -> None:
        self._batches: list[npt.NDArray[Any]] = []
        self._stride = 1
        self._count = 0

    def add(self, batch: npt.NDArray[Any]) -> None:
        taken = batch[:: self._stride].copy()
        most = min(MOST_OBSERVATIONS, max(2, MOST_BYTES // batch[0].nbytes)) if len(batch) else MOST_OBSERVATIONS
        self._batches.append(taken)
        self._count += len(taken)
        if self._count > most:
            self._batches = [self.observations[::2]]
            self._count = len(self._batches[0])
            self._stride *= 2

    @property
    def observations(self) -> npt.NDArray[Any]:
        return np.concatenate(self._batches)
