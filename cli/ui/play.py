"""A policy plays its environment: Gymnasium steps and draws it on this machine, the endpoint chooses the actions."""

import base64
import importlib.util
import io
import time
from collections.abc import Callable, Iterator
from typing import Any

from cli.errors import CliError
from contract.run import LOG

NEEDED = {"gymnasium": "Gymnasium", "PIL": "Pillow"}
MOST_STEPS = 2000
"""After which an episode is over for whoever looks at it."""

WIDTH = 640
"""Pixels; wider pictures are made smaller."""

Ask = Callable[[Any], Any]
"""From an observation, as JSON, to the endpoint's action."""


def hindrance(environment: dict[str, Any] | None) -> str:
    """Why an environment cannot be played here, in a sentence; nothing when it may be tried.

    :param environment: the section of the run file, where it is known.
    """
    missing = [name for module, name in NEEDED.items() if importlib.util.find_spec(module) is None]
    if missing:
        packages = "training_image/requirements.txt"
        return f"{' and '.join(missing)} are not installed here, so nothing can be drawn; `pip install -r {packages}`."
    if environment is None:
        return "It is not known which environment this endpoint's policy was trained in."
    if environment["id"] == LOG:
        return "Its policy was trained on a log alone; there is no simulator to play in."
    if environment.get("frame_stack", 1) > 1:
        return f"Its policy sees {environment['frame_stack']} frames at once, which this page does not stack."
    return ""


def episode(environment_id: str, kwargs: dict[str, Any], ask: Ask, seed: int | None) -> Iterator[dict[str, Any]]:
    """Play one episode: a document for each step, with the picture as a data URL, at the environment's own pace.

    Everything happens in the thread that asks for the next step; some renderers allow no other.

    Raises:
        CliError: the environment cannot be made, or has no pictures.
    """
    environment = _make(environment_id, kwargs)
    rate = float(environment.metadata.get("render_fps") or 30)
    total, step, over = 0.0, 0, False
    action: Any = None
    try:
        observation, _ = environment.reset(seed=seed)
        while True:
            due = time.monotonic() + 1 / rate
            seen = as_json(observation)
            shown = {"step": step, "total": round(total, 4), "observation": seen, "action": action, "over": over}
            yield {**shown, "frame": _picture(environment.render())}
            if over or step >= MOST_STEPS:
                return
            action = ask(seen)
            observation, reward, terminated, truncated, _ = environment.step(_taken(environment.action_space, action))
            total, step, over = total + float(reward), step + 1, bool(terminated or truncated)
            time.sleep(max(0.0, due - time.monotonic()))
    finally:
        environment.close()


def as_json(observation: Any) -> Any:
    """An observation as the endpoint takes it."""
    if isinstance(observation, dict):
        return {name: as_json(value) for name, value in observation.items()}
    if isinstance(observation, tuple | list):
        return [as_json(value) for value in observation]
    return observation.tolist() if hasattr(observation, "tolist") else observation


def _make(environment_id: str, kwargs: dict[str, Any]) -> Any:
    from training_image.trainer.envs.headless import prepare

    prepare()
    import gymnasium

    try:
        modes = gymnasium.make(environment_id, **kwargs).metadata.get("render_modes", [])
        if "rgb_array" not in modes:
            raise CliError(f"{environment_id} has no pictures", next_step="ask its policy with an observation")
        return gymnasium.make(environment_id, render_mode="rgb_array", **kwargs)
    except (gymnasium.error.Error, ImportError, TypeError) as error:
        raise CliError(
            f"{environment_id} cannot be made here: {error}", next_step="install the package that it comes from"
        ) from error


def _taken(space: Any, action: Any) -> Any:
    """An action of the endpoint as the environment takes it."""
    import numpy as np

    if type(space).__name__ == "Discrete":
        return int(action)
    return np.asarray(action, dtype=space.dtype).reshape(space.shape)


def _picture(frame: Any) -> str:
    from PIL import Image

    image = Image.fromarray(frame)
    if image.width > WIDTH:
        image = image.resize((WIDTH, WIDTH * image.height // image.width))
    content = io.BytesIO()
    image.save(content, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
