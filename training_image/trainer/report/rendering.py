"""Episodes of a policy to look at: in a window, or filmed.

A film is an animated WebP: Pillow writes it, every browser shows it, and of a quarter of a megabyte it takes a second.
"""

import io
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy.typing as npt
from stable_baselines3.common.vec_env import VecEnv

from contract.layout import VIDEOS
from contract.run import EnvironmentSection
from training_image.trainer.envs import environments, tables
from training_image.trainer.envs.headless import prepare
from training_image.trainer.envs.native import NativeVecEnv, native
from training_image.trainer.envs.observations import Batch
from training_image.trainer.errors import UsageError
from training_image.trainer.policies.evaluation import HELD_OUT_SEEDS, Episodes, Policy, copies_for, play, play_round

VIDEO = "episode.webp"

MOST_FRAMES = 160
"""Of a film. A longer episode is filmed with fewer pictures a second, at its own pace."""

MOST_SECONDS = 20.0
"""Of this process's time for a film; then it ends early. Physics engines without a GPU draw a few pictures a second."""

MOST_BYTES = 2**20
"""Of a film; a larger one is made again, coarser. Three of them, as text, and the report stay below 5 MiB."""

MOST_PIXELS = 640
"""Width; wider pictures are made smaller."""

_QUALITIES = ((50, 1.0), (25, 1.0), (25, 0.5), (10, 0.33))
"""WebP's quality and the scale of the pictures, from the first try to the last."""


@dataclass(frozen=True, kw_only=True)
class _Shot:
    """An episode, filmed."""

    episode_return: float
    """Of the episode as it was played for the film: the one that was judged, played again."""
    length: int
    content: bytes
    seconds: float
    """How long it shows, at the environment's own pace."""
    is_whole: bool
    """Whether it shows the episode to its end."""


@dataclass(frozen=True, kw_only=True)
class Film(_Shot):
    """A film of the report."""

    name: str
    """One of `contract.layout.VIDEOS`."""
    number: int
    """Which of the judging episodes it is."""


def show(policy: Policy, of: EnvironmentSection) -> None:
    """Play a held-out episode in a window.

    Raises:
        UsageError: when the environment cannot be shown.
    """
    _check(of, "human")
    environment = environments.make(of, 1, render_mode="human")
    try:
        environment.seed(HELD_OUT_SEEDS)
        play_round(policy, environment, 0, _Camera(environment, count=1, wanted=0, stride=0))
    finally:
        environment.close()


def film(policy: Policy, of: EnvironmentSection, folder: Path) -> Path:
    """Write a held-out episode as an animated picture into a folder; returns its path.

    Raises:
        UsageError: when the environment cannot be drawn.
    """
    path = folder / VIDEO
    length = int(play(policy, of, episodes=1, seed=HELD_OUT_SEEDS, record=False).lengths[0])
    path.write_bytes(_shoot(policy, of, seed=HELD_OUT_SEEDS, number=0, episodes=1, length=length).content)
    return path


def films(policy: Policy, of: EnvironmentSection, *, played: Episodes, seed: int) -> tuple[list[Film], str]:
    """The best, the median and the worst of the episodes that `play` played from this seed, played again and filmed.

    Of episodes that are alike only one. Where nothing can be drawn there are none, and a sentence says why.
    """
    chosen: dict[int, str] = {}
    order = sorted(range(len(played.returns)), key=lambda number: (played.returns[number], -number))
    for name, number in zip(VIDEOS, (order[-1], order[(len(order) - 1) // 2], order[0]), strict=True):
        if all(played.returns[number] != played.returns[other] for other in chosen):
            chosen[number] = name
    made = []
    try:
        for number, name in chosen.items():
            length = int(played.lengths[number])
            shot = _shoot(policy, of, seed=seed, number=number, episodes=len(played.returns), length=length)
            made.append(Film(name=name, number=number, **vars(shot)))
    except Exception as error:  # a policy is judged by what it did; whatever hinders its being drawn is no judgement
        return made, f"{of.id} cannot be drawn here: {error or type(error).__name__}"
    return made, ""


def _shoot(
    policy: Policy,
    of: EnvironmentSection,
    *,
    seed: int,
    number: int,
    episodes: int,
    length: int,
) -> _Shot:
    """One of the episodes from a seed, filmed."""
    rate = _check(of, "rgb_array")
    stride = math.ceil(length / MOST_FRAMES)
    drawn = environments.make(of, 1, render_mode="rgb_array")
    copies = copies_for(episodes)
    together = environments.make(of, copies) if native(of.id, tables.given(of.kwargs), 1) else None
    try:
        if together is None:  # the episode's copy is seeded by its own number, so it can be played alone
            camera = _Camera(drawn, count=number + 1, wanted=number, stride=stride)
            drawn.seed(seed + number)
            play_round(policy, drawn, number, camera)
        else:  # the copies share one generator: all of them are played again, and one of them is drawn
            first = number // copies * copies
            camera = _Camera(drawn, count=episodes, wanted=number, stride=stride, together=together)
            together.seed(seed + first)
            drawn.reset()
            play_round(policy, together, first, camera)
    finally:
        drawn.close()
        if together is not None:
            together.close()
    milliseconds = max(10, round(1000 * stride / rate))
    return _Shot(
        episode_return=camera.episode_return,
        length=camera.length,
        content=_encode(camera.frames, milliseconds),
        seconds=len(camera.frames) * milliseconds / 1000,
        is_whole=not camera.is_cut,
    )


class _Camera:
    """Watches a round of episodes and takes pictures of one of them.

    :param drawn: the environment that is drawn.
    :param stride: steps from picture to picture; 0 takes none.
    :param together: the environment that is played, where it is another one.
    """

    def __init__(self, drawn: VecEnv, *, count: int, wanted: int, stride: int, together: VecEnv | None = None) -> None:
        self.count = count
        self.frames: list[npt.NDArray[Any]] = []
        self.is_cut = False
        self.episode_return, self.length = math.nan, 0
        self._drawn = drawn
        self._wanted = wanted
        self._stride = stride
        self._together = together
        self._step = 0
        self._is_over = False
        self._until = time.process_time() + MOST_SECONDS

    def saw(self, observations: Batch) -> None:
        """Before every step of the round."""
        if self._stride and not self._is_over and self._step % self._stride == 0:
            if self.frames and time.process_time() > self._until:
                self.is_cut = True
            else:
                self._take()
        self._step += 1

    def ended(self, number: int, info: dict[str, Any]) -> None:
        """An episode of the round is over."""
        if number == self._wanted:
            self._is_over = True
            self.episode_return, self.length = float(info["episode"]["r"]), int(info["episode"]["l"])

    def _take(self) -> None:
        if self._together is not None:
            played = self._together.unwrapped
            assert isinstance(played, NativeVecEnv)
            played.show_in(self._drawn.get_attr("unwrapped")[0], self._wanted % played.num_envs)
        picture: Any = self._drawn.env_method("render")[0]
        if picture is None:
            raise UsageError("it gives no picture")
        self.frames.append(picture)


def poster(content: bytes) -> bytes:
    """A picture from the middle of a film, as a WebP of its own."""
    from PIL import Image

    written = io.BytesIO()
    with Image.open(io.BytesIO(content)) as pictures:
        pictures.seek(getattr(pictures, "n_frames", 1) // 2)
        pictures.convert("RGB").save(written, "WEBP", quality=50)
    return written.getvalue()


def _check(of: EnvironmentSection, mode: str) -> float:
    """Pictures a second at the environment's own pace."""
    prepare()
    environment = gymnasium.make(of.id, **tables.given(dict[str, Any](of.kwargs)))
    metadata = dict(environment.metadata)
    environment.close()
    modes = metadata.get("render_modes", [])
    if mode not in modes:
        raise UsageError(f"--render: {of.id} has no {mode} pictures; it has {', '.join(modes) or 'none'}")
    return float(metadata.get("render_fps") or 30)


def _encode(frames: list[npt.NDArray[Any]], milliseconds: int) -> bytes:
    """An animated WebP, as good as fits."""
    from PIL import (
        Image,
        WebPImagePlugin,  # noqa: F401 - or Pillow would look for it among its fifty formats
    )

    content = b""
    for quality, scale in _QUALITIES:
        scale *= min(1.0, MOST_PIXELS / frames[0].shape[1])
        size = (max(1, round(frames[0].shape[1] * scale)), max(1, round(frames[0].shape[0] * scale)))
        pictures = [Image.fromarray(frame) for frame in frames]
        if scale < 1:
            pictures = [picture.resize(size, Image.Resampling.BILINEAR) for picture in pictures]
        first, *rest = pictures
        written = io.BytesIO()
        first.save(
            written,
            "WEBP",
            save_all=True,
            append_images=rest,
            duration=milliseconds,
            loop=0,
            quality=quality,
            method=0,
            # No key frames: nobody can wind, and they take a quarter of the time and of the size.
            kmin=0,
            kmax=0,
        )
        content = written.getvalue()
        if len(content) <= MOST_BYTES:
            break
    return content
