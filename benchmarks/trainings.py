"""Trainings in this process, as the trainer runs them."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

    from contract.events import Event
    from training_image.trainer.plan import Plan


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Which seeds hyperparameters were searched with, chosen by, and confirmed on; and whose episodes judge."""

    search: str
    selection: str
    confirmation: str
    episodes: str


class Silent:
    """A reporter that says nothing."""

    def report(self, event: "Event") -> None:
        """Nothing."""

    def log(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def plan(
    seed: int,
    *,
    environment: str = "CartPole-v1",
    algorithm: str = "ppo",
    timesteps: int = 100_000,
    evaluate_every: int | None = None,
    checkpoint_seconds: float | None = 60,
    parallel: str = "copies",
    **hyperparameters: Any,
) -> "Plan":
    """PPO on CartPole-v1, or something else.

    0 seconds takes a checkpoint at every segment: more than a run file may ask for.
    """
    from dataclasses import replace

    from contract.run import CheckpointSection
    from training_image.trainer.plan import plan_by_hand

    document = {
        "environment": {"id": environment},
        "algorithm": {"name": algorithm, "hyperparameters": hyperparameters},
        "compute": {"parallel": parallel},
        "timesteps": timesteps,
        "evaluation": {"every_steps": evaluate_every},
    }
    by_hand = plan_by_hand("benchmark", document, seed)
    checkpoint = CheckpointSection.model_construct(every_seconds=checkpoint_seconds, keep=3)
    return replace(by_hand, specification=by_hand.specification.model_copy(update={"checkpoint": checkpoint}))


def train(of: "Plan") -> None:
    """The whole training, with everything that it writes."""
    from training_image.trainer import training
    from training_image.trainer.recovery.stopping import Signals
    from training_image.trainer.storage import LocalStorage

    with tempfile.TemporaryDirectory() as folder:
        training.train(of, LocalStorage(Path(folder)), Silent(), Signals())


def trained(of: "Plan") -> "BaseAlgorithm":
    """The model at the end of a training, which checkpoints, metrics and the model folder leave as it is."""
    from training_image.trainer.envs import environments
    from training_image.trainer.recovery.segments import Segments, segment_steps

    model = built(of)
    steps = segment_steps(
        episode_steps=environments.episode_steps(of.environment),
        copies=of.hyperparameters.n_envs or 1,
        rollout_steps=(of.hyperparameters.n_envs or 1) * (getattr(of.hyperparameters, "n_steps", None) or 1),
    )
    segments = Segments(seed=of.seed, steps=steps, restore=None, at_start=lambda: None)
    model.learn(of.specification.timesteps, callback=segments, log_interval=None)  # type: ignore[arg-type]
    return model


def built(of: "Plan") -> "BaseAlgorithm":
    """The model before its first step."""
    from stable_baselines3.common.logger import Logger
    from torch.distributions import Distribution

    from training_image.trainer.envs import environments
    from training_image.trainer.learning import algorithms

    Distribution.set_default_validate_args(False)
    h = of.hyperparameters
    environment = environments.make(of.specification.environment, h.n_envs or 1)
    model = algorithms.build(of.specification.algorithm.name, environment, h, of.seed)
    model.set_logger(Logger(None, []))
    return model
