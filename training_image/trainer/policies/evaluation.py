"""Policies play episodes, many side by side, and each policy the same ones."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from contract.run import EnvironmentSection
from training_image.trainer.envs import environments
from training_image.trainer.envs import observations as batches
from training_image.trainer.envs.observations import Batch
from training_image.trainer.policies.graph import Player

MOST_COPIES = 128
MOST_OBSERVATIONS = 20_000
MOST_BYTES = 2**28
"""Of recorded observations; pictures are large."""

HELD_OUT_SEEDS = 2**32
"""Evaluation seeds begin here. Training seeds environments below 2**31 plus the number of copies."""


class Policy(Protocol):
    """Whoever can act. One that is told the valid actions has `choices` and `choose` besides, one with a memory has
    `memory` and `remember`, as `graph.PolicyGraph` and `served.ServedPolicy` do."""

    def act(self, observations: Batch) -> npt.NDArray[Any]:
        """Deterministic actions of shape `[batch, *action_shape]` for a batch of observations."""
        ...


@dataclass(frozen=True, kw_only=True)
class Episodes:
    """What a policy made of each episode, in their order, and observations that it met, spread over all of them."""

    returns: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.int64]
    truncated: npt.NDArray[np.bool_]
    """Whether a limit of time ended it."""
    successes: npt.NDArray[np.float64]
    """1 or 0 as the environment's `info["is_success"]` says, not a number where it says nothing."""
    observations: Batch


def play(policy: Policy, of: EnvironmentSection, *, episodes: int, seed: int, record: bool = True) -> Episodes:
    """Play episodes with the policy's deterministic actions.

    Every policy that plays as many episodes from the same seed plays the same ones (common random numbers): each begins
    with a reset by a seed of its own, so that it does not depend on what was played before it.
    """
    copies = copies_for(episodes)
    environment = environments.make(of, copies)
    played = _Played(episodes, record)
    try:
        for first in range(0, episodes, copies):
            environment.seed(seed + first)
            play_round(policy, environment, first, played)
    finally:
        environment.close()
    return played.episodes()


def copies_for(episodes: int) -> int:
    """How many copies of the environment play so many episodes."""
    return min(episodes, MOST_COPIES)


class Audience(Protocol):
    """Whoever is told of a round of episodes."""

    @property
    def count(self) -> int:
        """Episodes that there are in all."""
        ...

    def saw(self, observations: Batch) -> None:
        """Before each step: what the copies see whose episodes go on."""
        ...

    def ended(self, number: int, info: dict[str, Any]) -> None:
        """An episode is over."""
        ...


def play_round(policy: Policy, environment: VecEnv, first: int, played: Audience) -> None:
    """Every copy of the environment plays one episode, those from `first` on."""
    copies = environment.num_envs
    acting: Any = policy  # its memory and its masks are its own business, which not every policy has
    player: Any = Player(acting, copies) if getattr(policy, "memory", 0) else policy
    masked = bool(getattr(policy, "choices", 0))
    space = environment.observation_space
    playing = first + np.arange(copies) < played.count
    observations = batches.as_input(environment.reset(), space)
    while playing.any():
        played.saw(batches.take(observations, playing))
        if masked:
            actions = player.choose(observations, np.stack(environment.env_method("action_masks")))
        else:
            actions = player.act(observations)
        met, _, dones, infos = environment.step(actions)
        for copy in np.flatnonzero(dones & playing):
            played.ended(first + int(copy), infos[copy])
        playing &= ~dones
        observations = batches.as_input(met, space)


class _Played:
    """What is known of each episode so far."""

    def __init__(self, count: int, record: bool) -> None:
        self.count = count
        self._returns = np.zeros(count)
        self._lengths = np.zeros(count, dtype=np.int64)
        self._truncated = np.zeros(count, dtype=np.bool_)
        self._successes = np.full(count, np.nan)
        self._recorder = _Recorder() if record else None

    def saw(self, observations: Batch) -> None:
        if self._recorder:
            self._recorder.add(observations)

    def ended(self, number: int, info: dict[str, Any]) -> None:
        self._returns[number] = info["episode"]["r"]
        self._lengths[number] = info["episode"]["l"]
        self._truncated[number] = info["TimeLimit.truncated"]
        self._successes[number] = info.get("is_success", np.nan)

    def episodes(self) -> Episodes:
        return Episodes(
            returns=self._returns,
            lengths=self._lengths,
            truncated=self._truncated,
            successes=self._successes,
            observations=self._recorder.observations if self._recorder else np.empty(0),
        )


class _Recorder:
    """Keeps at most `MOST_OBSERVATIONS` and `MOST_BYTES`, evenly spread: when there are too many, every second is
    dropped and from then on half as many are taken."""

    def __init__(self) -> None:
        self._batches: list[Batch] = []
        self._stride = 1
        self._count = 0

    def add(self, batch: Batch) -> None:
        if not batches.size(batch):
            return
        most = min(MOST_OBSERVATIONS, max(2, MOST_BYTES // batches.row_bytes(batch)))
        taken = batches.each(lambda array: array[:: self._stride].copy(), batch)
        self._batches.append(taken)
        self._count += batches.size(taken)
        if self._count > most:
            self._batches = [batches.take(self.observations, slice(None, None, 2))]
            self._count = batches.size(self._batches[0])
            self._stride *= 2

    @property
    def observations(self) -> Batch:
        return batches.joined(self._batches)
