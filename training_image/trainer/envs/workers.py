"""Environments in processes of their own, for those whose steps cost more than the way there and back.

They are forked from a server that has imported all that they need once. They ignore the signals that a person or a
scheduler sends to the whole group: the training still needs them for the step it finishes. They end when the
training's process does, however it ends, because nothing comes through their pipe any more.
"""

import multiprocessing
import random
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from stable_baselines3.common.vec_env import SubprocVecEnv

Build = Callable[[], gymnasium.Env[Any, Any]]


def start(builds: Sequence[Build]) -> SubprocVecEnv:
    """One process for each."""
    multiprocessing.set_forkserver_preload([f"training_image.trainer.{name}" for name in ("imports", "environments")])
    return SubprocVecEnv([partial(_in_process, build) for build in builds], start_method="forkserver")


def _in_process(build: Build) -> gymnasium.Env[Any, Any]:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    return SeedsItsProcess(build())


class SeedsItsProcess(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Seeds the generators of Python and numpy with the environment, as the training seeds those of its own process."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        if seed is not None:
            random.seed(seed)
            np.random.seed(seed % 2**32)
        return self.env.reset(seed=seed, options=options)
