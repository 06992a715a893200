"""Logged experience as arrays, and what algorithms that act make of it before their first step."""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from gymnasium import spaces
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.vec_env import VecNormalize

from training_image.trainer.errors import UsageError
from training_image.trainer.recovery.replay import PREFILLED, replay_buffer
from training_image.trainer.storage import open_storage

CLONING_BATCH = 256
CLONING_RATE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Log:
    """Transitions in the order of their episodes."""

    observations: npt.NDArray[Any]
    """`[n, *shape]`, as the environment gives them."""
    actions: npt.NDArray[Any]
    """`[n, *shape]`"""
    rewards: npt.NDArray[np.float32]
    next_observations: npt.NDArray[Any]
    terminated: npt.NDArray[np.bool_]
    follows: npt.NDArray[np.bool_]
    """Whether what came next is known, or does not matter: not so at the end of an episode that was cut short."""
    episode: npt.NDArray[np.int64]
    """Number of each transition's episode, from 0."""

    def __len__(self) -> int:
        return len(self.rewards)

    def outcomes(self, gamma: float) -> npt.NDArray[np.float64]:
        """The discounted return from each transition to the end of its episode."""
        found, after = np.zeros(len(self)), 0.0
        for index in range(len(self) - 1, -1, -1):
            if index + 1 == len(self) or self.episode[index + 1] != self.episode[index]:
                after = 0.0
            found[index] = after = float(self.rewards[index]) + gamma * after
        return found


def read(place: str, observation_space: spaces.Space[Any], action_space: spaces.Space[Any]) -> Log:
    """Prepared transitions.

    Raises:
        UsageError: there are none.
    """
    import polars as pl  # half a second that trainings without data need not spend

    storage = open_storage(place)
    parts = [storage.read(key) for key in storage.keys("") if key.endswith(".parquet")]
    if not parts:
        raise UsageError(f"there are no prepared rows at {place}")
    frame = pl.concat([pl.read_parquet(io.BytesIO(part or b"")) for part in parts])
    frame = frame.sort("episode", "step", maintain_order=True)
    observations = _values(frame, "observation", observation_space)
    ids = frame["episode"].to_numpy()
    same = np.append(ids[1:] == ids[:-1], False)
    met = np.concatenate([observations[1:], observations[-1:]])
    terminated = frame["terminated"].to_numpy()
    known = same | terminated
    names = [name for name in frame.columns if name.startswith("next_observation")]
    if names:
        told = ~frame.select(pl.any_horizontal(pl.col(names).is_null())).to_series().to_numpy()
        filled = frame.with_columns(pl.col(names).fill_null(0))
        given = _values(filled, "next_observation", observation_space)
        met = np.where(told.reshape(-1, *[1] * (met.ndim - 1)), given, met)
        known = known | told
    return Log(
        observations=observations,
        actions=_values(frame, "action", action_space),
        rewards=frame["reward"].to_numpy().astype(np.float32),
        next_observations=met,
        terminated=terminated,
        follows=known,
        episode=np.cumsum(np.append(0, ~same[:-1])).astype(np.int64),
    )


def begin(model: BaseAlgorithm, log: Log, *, clone_steps: int, seed: int) -> str:
    """What an algorithm that acts makes of a log before its first step; in words."""
    if isinstance(model, OffPolicyAlgorithm):
        return f"{remember(model, log):,} of the log's {len(log):,} transitions are in the replay buffer"
    observe(model.get_vec_normalize_env(), log)
    if not clone_steps:
        return "the log is not used: data.clone_steps is 0"
    policy = model.policy
    assert isinstance(policy, ActorCriticPolicy)
    loss = clone(policy, model.get_vec_normalize_env(), log, steps=clone_steps, seed=seed)
    return f"the policy begins as the log's: {clone_steps:,} updates of behaviour cloning, loss {loss:.4g}"


def remember(model: OffPolicyAlgorithm, log: Log) -> int:
    """Fill the replay buffer with the newest transitions of a log; how many there are in it now."""
    observe(model.get_vec_normalize_env(), log)
    buffer = replay_buffer(model)
    assert buffer is not None
    copies = buffer.n_envs
    rows = np.flatnonzero(log.follows)[-buffer.buffer_size * copies :]
    rows = rows[: len(rows) // copies * copies]
    actions = log.actions
    if isinstance(model.action_space, spaces.Box):
        actions = model.policy.scale_action(actions)
    for several in rows.reshape(-1, copies):
        ended = log.terminated[several]
        buffer.add(
            log.observations[several],
            log.next_observations[several],
            actions[several],
            log.rewards[several],
            ended,
            [{} for _ in several],
        )
    setattr(model, PREFILLED, len(rows) // copies)
    return len(rows)


def clone(policy: ActorCriticPolicy, normaliser: VecNormalize | None, log: Log, *, steps: int, seed: int) -> float:
    """Make a policy act as the log does; the loss of the last update."""
    generator = np.random.default_rng([seed, steps])
    optimiser = torch.optim.Adam(policy.parameters(), lr=CLONING_RATE)
    loss = torch.zeros(())
    for _ in range(steps):
        rows = generator.integers(len(log), size=CLONING_BATCH)
        loss = cloning_loss(policy, inputs(log.observations[rows], normaliser), taken(log.actions[rows]))
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(policy.parameters(), 10.0)
        optimiser.step()
    return loss.item()


def cloning_loss(policy: ActorCriticPolicy, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """How unlikely the policy holds what was done, on average."""
    _, log_probability, _ = policy.evaluate_actions(observations, actions)
    return -log_probability.mean()


def observe(normaliser: VecNormalize | None, log: Log) -> None:
    """Take the statistics of the observations from a log."""
    if normaliser is None or not normaliser.norm_obs:
        return
    statistics: Any = normaliser.obs_rms
    statistics.update(np.asarray(log.observations, dtype=np.float64))


def inputs(observations: npt.NDArray[Any], normaliser: VecNormalize | None) -> torch.Tensor:
    """Observations as a policy takes them."""
    given: Any = observations if normaliser is None else normaliser.normalize_obs(observations)
    return torch.as_tensor(given)


def taken(actions: npt.NDArray[Any]) -> torch.Tensor:
    """Actions as a policy's distribution takes them: one row each."""
    return torch.as_tensor(actions if actions.ndim == 1 else actions.reshape(len(actions), -1))


def _values(frame: Any, root: str, space: spaces.Space[Any]) -> npt.NDArray[Any]:
    """The columns of a root, `[n, *shape]`."""
    shape = space.shape or ()
    names = (
        [root] if isinstance(space, spaces.Discrete) else [f"{root}_{index}" for index in range(int(np.prod(shape)))]
    )
    values: npt.NDArray[Any] = frame.select(names).to_numpy().astype(space.dtype)
    return values.reshape(-1, *shape)
