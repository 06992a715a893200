"""One episode of a policy to look at: in a window, or as an animated picture."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from contract.run import EnvironmentSection
from training_image.trainer import environments
from training_image.trainer.errors import UsageError
from training_image.trainer.evaluation import HELD_OUT_SEEDS
from training_image.trainer.graph import MaskedGraph, Player, PolicyGraph, RecurrentGraph
from training_image.trainer.observations import as_input

VIDEO = "episode.gif"
MOST_FRAMES = 1000


def show(graph: PolicyGraph, of: EnvironmentSection) -> float:
    """Play a held-out episode in a window; returns its return.

    Raises:
        UsageError: when the environment cannot be shown.
    """
    return _play(graph, of, "human")[0]


def film(graph: PolicyGraph, of: EnvironmentSection, folder: Path) -> Path:
    """Write a held-out episode as an animated picture into a folder; returns its path.

    Raises:
        UsageError: when the environment cannot be drawn.
    """
    from PIL import Image

    _, frames, rate = _play(graph, of, "rgb_array")
    first, *rest = [Image.fromarray(frame) for frame in frames]
    path = folder / VIDEO
    first.save(path, save_all=True, append_images=rest, duration=round(1000 / rate), loop=0)
    return path


def _play(graph: PolicyGraph, of: EnvironmentSection, mode: str) -> tuple[float, list[Any], float]:
    """The episode's return, its frames, and how many of them belong to a second."""
    metadata = dict(gymnasium.make(of.id, **dict[str, Any](of.kwargs)).metadata)
    modes = metadata.get("render_modes", [])
    if mode not in modes:
        raise UsageError(f"--render: {of.id} has no {mode} pictures; it has {', '.join(modes) or 'none'}")
    environment = environments.make(of, 1, render_mode=mode)
    player = Player(graph, 1) if isinstance(graph, RecurrentGraph) else graph
    frames, over, infos = list[Any](), False, list[dict[str, Any]]()
    try:
        environment.seed(HELD_OUT_SEEDS % 2**31)
        observations = environment.reset()
        while not over:
            if mode == "rgb_array" and len(frames) < MOST_FRAMES:
                frames += environment.get_images()
            batch = as_input(observations, environment.observation_space)
            if isinstance(player, MaskedGraph):
                actions = player.choose(batch, np.stack(environment.env_method("action_masks")))
            else:
                actions = player.act(batch)
            observations, _, dones, infos = environment.step(actions)
            over = bool(dones[0])
    finally:
        environment.close()
    return float(infos[0]["episode"]["r"]), frames, float(metadata.get("render_fps", 30))
