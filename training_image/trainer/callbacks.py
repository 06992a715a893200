"""Callbacks that cost next to nothing at a step."""

import time
from collections.abc import Sequence
from typing import Any

from stable_baselines3.common.callbacks import BaseCallback, CallbackList

LOOK_SECONDS = 0.02
"""The least time between two steps at which somebody is asked: no signal and no limit is in more of a hurry."""


class AtUpdates(BaseCallback):
    """A callback with nothing to do at a step; it is not called there, so its `num_timesteps` stands still."""

    def _on_step(self) -> bool:
        return True


class Callbacks(CallbackList):
    """Several callbacks, of which none reads the local variables of the loop that calls them, and none counts steps:
    those of them that act at steps do so at the first one after every 20 ms."""

    def __init__(self, callbacks: Sequence[BaseCallback]) -> None:
        super().__init__(list(callbacks))
        self._stepping = [callback for callback in callbacks if not isinstance(callback, AtUpdates)]
        self._due = 0.0

    def on_step(self) -> bool:
        now = time.monotonic()
        if now < self._due:
            return True
        self._due = now + LOOK_SECONDS
        return all([callback.on_step() for callback in self._stepping])  # noqa: C419 - each of them

    def update_locals(self, locals_: dict[str, Any]) -> None:
        """Nobody reads them."""
