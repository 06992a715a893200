"""Ends a training that hangs: an environment that waits for something that never comes would be paid for until the
limit."""

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from stable_baselines3.common.callbacks import BaseCallback


class Watchdog(BaseCallback):
    """Calls `bark`, in a thread of its own, once no step was taken for so many seconds; until then it tells `watch`,
    every few seconds, for how many there was none. Watches between enter and exit."""

    def __init__(
        self, seconds: float, bark: Callable[[str], None], watch: Callable[[float], None] = lambda _: None
    ) -> None:
        super().__init__()
        self._seconds = seconds
        self._bark = bark
        self._tell = watch
        self._last = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> Self:
        self._last = time.monotonic()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _on_step(self) -> bool:
        self._last = time.monotonic()
        return True

    def _watch(self) -> None:
        while not self._over.wait(min(self._seconds / 4, 5)):
            silent = time.monotonic() - self._last
            self._tell(silent)
            if silent >= self._seconds:
                self._bark(
                    f"no progress: not one step in {silent / 60:.3g} minutes, after {self.num_timesteps:,} steps"
                )
                return
