"""Exact resume. A run is cut into segments of a fixed number of steps, whether it is interrupted or not.

At the start of each segment every random source is seeded from (seed, segment) and every environment is reset.
So the rest of a run depends on what the model has learnt by then and on nothing else: a checkpoint taken there
and put back, on the same machine and versions, ends in the same weights, bit for bit, as if nothing had happened.
Segments are several episodes long, so that late states of an episode are seen too.
"""

import math
from collections.abc import Callable

import numpy as np
from stable_baselines3.common.base_class import BaseAlgorithm

from training_image.trainer.callbacks import AtUpdates

EPISODES_PER_SEGMENT = 4
"""Episodes of full length that each copy of the environment has room for in a segment."""


def segment_steps(*, episode_steps: int, copies: int, rollout_steps: int) -> int:
    """How many steps a segment has, over all copies: whole rollouts, room for several episodes in each copy."""
    return math.ceil(EPISODES_PER_SEGMENT * episode_steps * copies / rollout_steps) * rollout_steps


def segment_seed(seed: int, segment: int) -> int:
    """The seed of every random source in a segment, below 2**31: copies of an environment add their index to it."""
    return int(np.random.SeedSequence([seed, segment]).generate_state(1)[0]) >> 1


class Segments(AtUpdates):
    """Starts each segment. `at_start` is called before, when the model's state is complete.

    With `restore`, training continues from what it puts back. It is called after Stable-Baselines3 has set up its
    loop, so that the observations of that set-up's own reset reach neither the normaliser nor a generator that is used.
    """

    def __init__(
        self, *, seed: int, steps: int, restore: Callable[[], None] | None, at_start: Callable[[], None]
    ) -> None:
        super().__init__()
        self._seed = seed
        self._steps = steps
        self._restore = restore
        self._at_start = at_start
        self._segment: int | None = None

    def _on_training_start(self) -> None:
        if self._restore is not None:
            self._restore()

    def _on_rollout_start(self) -> None:
        # Here the update is done and the next step is not taken, so the model's state is complete.
        segment = self.model.num_timesteps // self._steps
        if segment == self._segment:
            return
        self._segment = segment
        self._at_start()
        _begin(self.model, segment_seed(self._seed, segment))


def _begin(model: BaseAlgorithm, seed: int) -> None:
    environment = model.env
    assert environment is not None
    model.set_random_seed(seed)  # python, numpy, torch, the action space and the environments
    model._last_obs = environment.reset()  # type: ignore[assignment]
    model._last_episode_starts = np.ones(environment.num_envs, dtype=bool)
    if (noise := getattr(model, "action_noise", None)) is not None:
        noise.reset()
    if normaliser := model.get_vec_normalize_env():
        model._last_original_obs = normaliser.get_original_obs()
    if model.use_sde:  # drawn before the segment began, from the generator of the one before
        model.policy.reset_noise(environment.num_envs)  # type: ignore[operator]
