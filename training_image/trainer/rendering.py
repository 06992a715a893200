"""One episode of a policy to look at: in a window, or as an animated picture."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from training_image.trainer.environments import ValidActions, episode_steps
from training_image.trainer.errors import UsageError
from training_image.trainer.evaluation import HELD_OUT_SEEDS
from training_image.trainer.graph import MaskedGraph, Player, PolicyGraph, RecurrentGraph, input_dtype

VIDEO = "episode.gif"
MOST_FRAMES = 1000


def show(graph: PolicyGraph, environment_id: str, kwargs: dict[str, Any]) -> float:
    """Play a held-out episode in a window; returns its return.

    Raises:
        UsageError: when the environment cannot be shown.
    """
    return _play(graph, environment_id, kwargs, "human")[0]


def film(graph: PolicyGraph, environment_id: str, kwargs: dict[str, Any], folder: Path) -> Path:
    """Write a held-out episode as an animated picture into a folder; returns its path.

    Raises:
        UsageError: when the environment cannot be drawn.
    """
    from PIL import Image

    _, frames, rate = _play(graph, environment_id, kwargs, "rgb_array")
    first, *rest = [Image.fromarray(frame) for frame in frames]
    path = folder / VIDEO
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / rate), loop=0)
    return path


def _play(graph: PolicyGraph, environment_id: str, kwargs: dict[str, Any], mode: str) -> tuple[float, list[Any], float]:
    """The episode's return, its frames, and how many of them belong to a second."""
    modes = gymnasium.make(environment_id, **kwargs).metadata.get("render_modes", [])
    if mode not in modes:
        raise UsageError(f"--render: {environment_id} has no {mode} pictures; it has {', '.join(modes) or 'none'}")
    limit = episode_steps(environment_id)
    environment = ValidActions(
        gymnasium.make(environment_id, render_mode=mode, max_episode_steps=limit, disable_env_checker=True, **kwargs)
    )
    player = Player(graph, 1) if isinstance(graph, RecurrentGraph) else graph
    dtype = input_dtype(environment.observation_space)
    total, frames, over = 0.0, list[Any](), False
    try:
        observation, _ = environment.reset(seed=HELD_OUT_SEEDS % 2**31)
        while not over:
            if mode == "rgb_array" and len(frames) < MOST_FRAMES:
                frames.append(environment.render())
            batch = np.asarray(observation)[None].astype(dtype)
            if isinstance(player, MaskedGraph):
                action = player.choose(batch, environment.action_masks()[None])[0]
            else:
                action = player.act(batch)[0]
            taken = int(action) if isinstance(environment.action_space, spaces.Discrete) else action
            observation, reward, terminated, truncated, _ = environment.step(taken)
            total += float(reward)
            over = terminated or truncated
    finally:
        environment.close()
    return total, frames, float(environment.metadata.get("render_fps", 30))
