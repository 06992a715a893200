"""Quantiles: an update of QR-DQN and TQC, ours and the library's own, on the same memories in turns."""

import statistics
import time
from typing import Any

from benchmarks.results import table, write
from benchmarks.trainings import built, plan

ROUNDS, UPDATES, MEMORIES = 7, 20, 1000
CASES = {
    "TQC, Pendulum-v1": ("tqc", "Pendulum-v1"),
    "TQC, MountainCarContinuous-v0": ("tqc", "MountainCarContinuous-v0"),
    "QR-DQN, Acrobot-v1": ("qrdqn", "Acrobot-v1"),
    "QR-DQN, LunarLander-v3": ("qrdqn", "LunarLander-v3"),
}
"""Algorithm and environment, with the tuned hyperparameters."""


def main() -> str:
    """All cases; returns the table."""
    measured = {case: _measure(*of) for case, of in CASES.items()}
    write("quantiles", "python -m benchmarks quantiles", {"cases": CASES, "cpu_milliseconds": measured})
    rows = []
    for case, (ours, librarys) in measured.items():
        ratio = statistics.median(slow / quick for slow, quick in zip(librarys, ours, strict=True))
        rows.append([case, f"{statistics.median(ours):.1f}", f"{statistics.median(librarys):.1f}", f"{ratio:.1f}"])
    return table(["", "ours, CPU ms an update", "the library's, CPU ms an update", "the library's / ours"], rows)


def _measure(algorithm: str, environment: str) -> tuple[list[float], list[float]]:
    """CPU milliseconds an update, of each round."""
    from sb3_contrib import QRDQN, TQC

    model: Any = built(plan(0, environment=environment, algorithm=algorithm))
    model.learning_starts = MEMORIES + 1
    model.learn(MEMORIES, log_interval=None)
    kinds: tuple[Any, Any] = type(model), {"tqc": TQC, "qrdqn": QRDQN}[algorithm]
    measured: tuple[list[float], list[float]] = ([], [])
    for number in range(-1, ROUNDS):
        for kind, costs in zip(kinds, measured, strict=True):
            begun = time.process_time()
            kind.train(model, UPDATES, model.batch_size)
            if number >= 0:  # the round before is for what is imported by a first update
                costs.append(round((time.process_time() - begun) / UPDATES * 1000, 2))
    return measured
