"""The worker as its parent sees it. Only of the standard library: it is started before all else is imported."""

import os
import subprocess
import sys
from pathlib import Path

REUSE = {
    "MALLOC_MMAP_THRESHOLD_": f"{2**25}",
    "MALLOC_TRIM_THRESHOLD_": f"{2**28}",
    "_RJEM_MALLOC_CONF": "dirty_decay_ms:10000,muzzy_decay_ms:10000",
}
"""What NumPy and Polars free is kept for the next rows; given back to the system, each page costs a fault again."""


class Worker:
    """A process that imports what it needs, which takes a second, and then waits for its job."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "training_image.dataset.worker"],
            env={**os.environ, **REUSE},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def run(self, job: Path) -> tuple[int, str]:
        """Let it do its one job; its exit code, and what it said on stderr."""
        try:
            _, said = self._process.communicate(f"{job}\n")
        except BaseException:  # interrupted: nobody waits for it any more
            self._process.kill()
            raise
        return self._process.returncode, said


_waiting: list[Worker] = []


def start() -> None:
    """Start a worker for a job that is still to come; it ends with this process if none does."""
    _waiting.append(Worker())


def worker() -> Worker:
    """The worker that was started before, or a new one."""
    return _waiting.pop() if _waiting else Worker()
