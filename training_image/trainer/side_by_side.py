"""Several seeds by hand: each a process of its own, as in the cloud each is a job of its own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

from training_image.trainer.recovery.stopping import Signals

POLL_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Seed:
    """One training: what was asked for, and the process that does it."""

    number: int
    process: "subprocess.Popen[str]"
    readers: list[threading.Thread]
    said: list[str]


def train_seeds(
    commands: Mapping[int, Sequence[str]], *, jobs: int, log: Callable[[str], None], signals: Signals
) -> dict[int, dict[str, Any]]:
    """Run a command for each seed, at most `jobs` at a time; returns the summaries that they print with `--json`.

    Each line that one of them says goes to `log`. A signal to stop is passed on, and none is begun after it.
    """
    waiting, running = dict(commands), list[Seed]()
    summaries: dict[int, dict[str, Any]] = {}
    told = False
    while running or (waiting and signals.stop() is None):
        if signals.stop() is not None and not told:
            told = True
            for seed in running:
                seed.process.send_signal(signal.SIGTERM)
        while waiting and len(running) < jobs and not told:
            number = next(iter(waiting))
            running.append(_start(number, waiting.pop(number), log))
        for seed in [seed for seed in running if seed.process.poll() is not None]:
            running.remove(seed)
            summaries[seed.number] = _summary(seed)
        time.sleep(POLL_SECONDS)
    return summaries


def default_jobs() -> int:
    """As many as there are processors for this process: each training uses one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(number: int, command: Sequence[str], log: Callable[[str], None]) -> Seed:
    process = subprocess.Popen(
        [sys.executable, *command, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    said: list[str] = []
    assert process.stdout is not None
    assert process.stderr is not None
    readers = [
        threading.Thread(target=_read, args=(process.stdout, said.append)),
        threading.Thread(target=_read, args=(process.stderr, lambda line: log(f"[seed {number}] {line}"))),
    ]
    for reader in readers:
        reader.start()
    return Seed(number=number, process=process, readers=readers, said=said)


def _read(stream: IO[str], take: Callable[[str], object]) -> None:
    for line in stream:
        take(line.rstrip("\n"))


def _summary(seed: Seed) -> dict[str, Any]:
    for reader in seed.readers:
        reader.join()
    try:
        summary: dict[str, Any] = json.loads(seed.said[-1])
    except (IndexError, ValueError):
        return {"exit_code": seed.process.returncode or 1, "reason": "the process ended without a summary"}
    return summary
