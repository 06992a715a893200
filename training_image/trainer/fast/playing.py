"""Frozen actors play the same episodes side by side, in a natively vectorised environment."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from contract.run import EnvironmentSection
from training_image.trainer.envs.native import is_native, same_beginnings
from training_image.trainer.fast.frozen import Actor, Actors
from training_image.trainer.policies.evaluation import MOST_COPIES

STEPS_PER_SORTING = 25
"""Steps between looks at who has finished."""


def can_play_together(of: EnvironmentSection, episodes: int) -> bool:
    """Whether so many episodes of an environment can be played side by side."""
    return of.frame_stack == 1 and episodes <= MOST_COPIES and is_native(of.id)


def play_together(
    actors: Sequence[Actor], of: EnvironmentSection, *, episodes: int, seed: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Returns and lengths `[actors, episodes]`, as `evaluation.play` finds them for each policy alone."""
    environment = same_beginnings(of.id, dict(of.kwargs), episodes, len(actors))
    returns, lengths = np.zeros((len(actors), episodes)), np.zeros((len(actors), episodes), np.int64)
    still = np.arange(len(actors))
    side = Actors(actors)
    observations = environment.reset(seed)
    playing = np.ones((len(actors), episodes), np.bool_)
    gained, lasted = returns.copy(), lengths.copy()
    step = 0
    while playing.any():
        observations, rewards, over = environment.step(side.act(observations))
        gained += rewards * playing
        lasted += playing
        playing &= ~over
        step += 1
        going = np.asarray(playing.any(axis=1)) if step % STEPS_PER_SORTING == 0 else None
        if going is not None and not going.all():
            returns[still[~going]], lengths[still[~going]] = gained[~going], lasted[~going]
            still, playing, gained, lasted = still[going], playing[going], gained[going], lasted[going]
            observations = observations[going]
            if len(still):
                environment.keep(going)
                side = Actors([actors[int(number)] for number in still])
    returns[still], lengths[still] = gained, lasted
    return returns, lengths
