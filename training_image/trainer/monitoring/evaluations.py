"""Evaluations of a policy while it learns: evaluations.jsonl, a line each."""

import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.torch import load
from stable_baselines3.common.base_class import BaseAlgorithm

from contract.run import EvaluationSection
from training_image.trainer.callbacks import AtUpdates
from training_image.trainer.envs import environments
from training_image.trainer.fast import FastModel
from training_image.trainer.fast.frozen import Actor, freeze
from training_image.trainer.fast.playing import can_play_together, play_together
from training_image.trainer.plan import Plan
from training_image.trainer.policies.evaluation import HELD_OUT_SEEDS, Policy, play
from training_image.trainer.policies.graph import graph_of
from training_image.trainer.recovery.state import capture_normaliser

SEEDS = 2 * HELD_OUT_SEEDS
"""Of these episodes; neither training nor validation plays them."""


class Evaluations(AtUpdates):
    """Lets the policy play at the first update after every so many steps.

    It acts in environments of its own and draws nothing from the generators that training draws from, so a training
    ends in the same weights with and without it.
    """

    def __init__(
        self, plan: Plan, log: Callable[[str], None], *, document: bytes | None = None, up_to: int = 0
    ) -> None:
        """Continue `document`, the file of an earlier attempt, as far as the step that training resumes at."""
        super().__init__()
        self._section: EvaluationSection = plan.specification.evaluation
        self._environment = plan.specification.environment
        self._log = log
        lines = [json.loads(line) for line in (document or b"").splitlines()]
        self._lines: list[dict[str, Any]] = [line for line in lines if line["timesteps"] <= up_to]
        self._count: int | None = None
        self._gathers = self._section.every_steps is not None and can_play_together(
            self._environment, self._section.episodes
        )
        self._waiting: _Waiting | None = None

    def encode(self) -> bytes:
        """The file's content."""
        self._play_waiting()
        return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in self._lines)

    @property
    def newest(self) -> float | None:
        """Mean return of the newest evaluation."""
        return self._lines[-1]["mean_return"] if self._lines else None

    def _on_rollout_start(self) -> None:
        """Here the update is done. What a resumed training begins with was evaluated by the attempt before."""
        if self._section.every_steps is None:
            return
        count = self.model.num_timesteps // self._section.every_steps
        if self._count is not None and count > self._count:
            self._evaluate()
        self._count = count

    def _evaluate(self) -> None:
        actor = freeze(self.model) if self._gathers else None
        if actor is None:
            policy = policy_of(self.model)
            played = play(policy, self._environment, episodes=self._section.episodes, seed=SEEDS, record=False)
            self._note(self.model.num_timesteps, played.returns, played.lengths)
            return
        self._waiting = self._waiting or _Waiting()
        self._waiting.actors[self.model.num_timesteps] = actor
        if self._waiting.is_over:
            self._play_waiting()

    def _play_waiting(self) -> None:
        """Let those play that wait."""
        if self._waiting is None:
            return
        actors, self._waiting = self._waiting.actors, None
        played = play_together(list(actors.values()), self._environment, episodes=self._section.episodes, seed=SEEDS)
        for timesteps, returns, lengths in zip(actors, *played, strict=True):
            self._note(timesteps, returns, lengths)

    def _note(self, timesteps: int, returns: npt.NDArray[np.float64], lengths: npt.NDArray[np.int64]) -> None:
        line = {
            "timesteps": timesteps,
            "episodes": len(returns),
            "mean_return": float(returns.mean()),
            "std_return": float(returns.std()),
            "min_return": float(returns.min()),
            "mean_length": float(lengths.mean()),
        }
        self._lines.append(line)
        self._log(
            f"evaluation at step {timesteps:,}: "
            f"mean return {line['mean_return']:.6g} over {len(returns)} episodes, at least {line['min_return']:g}"
        )


class _Waiting:
    """Policies that are evaluated together: ten at once cost little more than two."""

    MOST = 10
    SECONDS = 2.0

    def __init__(self) -> None:
        self.actors: dict[int, Actor] = {}
        self._since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether they have waited long enough."""
        return len(self.actors) >= self.MOST or time.monotonic() - self._since >= self.SECONDS


def policy_of(model: BaseAlgorithm) -> Policy:
    """The policy of a model in training, as it now is, with its best actions."""
    if isinstance(model, FastModel):
        return model
    normaliser = model.get_vec_normalize_env()
    statistics = load(capture_normaliser(normaliser)) if normaliser else None
    return graph_of(model.policy, statistics, environments.observed(model))
