"""Emission: what telling how it goes takes of a training: progress, metrics.jsonl and the lines for CloudWatch.

Measured inside of each training, around everything that the metrics' callback does, so that it does not depend on
what else the machine does. Events are printed, as in a container, to where nobody reads them.
"""

import contextlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.results import table, write
from benchmarks.trainings import plan

STEPS, ROUNDS = 100_000, 2
KINDS = {"fast path": True, "Stable-Baselines3's class": False}
INTERVALS = (60, 1)
"""Seconds between two lines for CloudWatch: as deployed, and as on a laptop."""


def main(rounds: int = ROUNDS) -> str:
    """All variants in turns; returns the table."""
    runs: dict[str, list[dict[str, float]]] = {f"{kind}, every {each} s": [] for kind in KINDS for each in INTERVALS}
    for seed in range(rounds):
        for kind, fast in KINDS.items():
            for each in INTERVALS:
                runs[f"{kind}, every {each} s"].append(_one(seed, fast=fast, each=each))
        write("emission", "python -m benchmarks emission", {"steps": STEPS, "runs": runs})
    rows = [
        [
            name,
            f"{statistics.median(it['training'] for it in found):.2f}",
            f"{statistics.median(it['telling'] for it in found):.4f}",
            f"{max(100 * it['telling'] / it['training'] for it in found):.2f} %",
        ]
        for name, found in runs.items()
    ]
    return table(["", "CPU s", "of it telling", "share, the largest of all seeds"], rows)


def _one(seed: int, *, fast: bool, each: int) -> dict[str, float]:
    from contract.metrics import SECONDS_VARIABLE, STAGE_VARIABLE
    from training_image.trainer import training
    from training_image.trainer.monitoring.reporting import EventReporter
    from training_image.trainer.recovery.stopping import Signals
    from training_image.trainer.storage import LocalStorage

    os.environ |= {STAGE_VARIABLE: "benchmark", SECONDS_VARIABLE: str(each)}
    of = plan(seed, timesteps=STEPS, fast=fast)
    with (
        tempfile.TemporaryDirectory() as folder,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        _noted() as telling,
    ):
        begun = time.thread_time()
        training.train(of, LocalStorage(Path(folder)), EventReporter(), Signals())
        spent = time.thread_time() - begun
    return {"training": round(spent, 4), "telling": round(sum(telling), 4)}


@contextlib.contextmanager
def _noted() -> Iterator[list[float]]:
    """Notes the seconds of each call that tells."""
    from training_image.trainer.monitoring.metrics import Metrics

    seconds: list[float] = []

    def noting(method: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            begun = time.thread_time()
            try:
                return method(*args)
            finally:
                seconds.append(time.thread_time() - begun)

        return noted

    names = ("_on_step", "_on_rollout_start", "_on_training_end")
    before = {name: getattr(Metrics, name) for name in names}
    for name, method in before.items():
        setattr(Metrics, name, noting(method))
    try:
        yield seconds
    finally:
        for name, method in before.items():
            setattr(Metrics, name, method)
