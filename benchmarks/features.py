"""Features: what checkpoints, metrics and evaluations add to 200,000 steps of PPO on CartPole-v1, in this process."""

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.results import table, write
from benchmarks.trainings import plan, train, trained

STEPS, ROUNDS = 200_000, 3
KINDS = {"fast path": True, "Stable-Baselines3's class": False}
VARIANTS: dict[str, Callable[[int, bool], None]] = {
    "training alone": lambda seed, fast: _bare(seed, fast),
    "with metrics, and a checkpoint at every segment": lambda seed, fast: train(
        plan(seed, timesteps=STEPS, checkpoint_seconds=0, fast=fast)
    ),
    "and 100 episodes of evaluation every 10,000 steps": lambda seed, fast: train(
        plan(seed, timesteps=STEPS, checkpoint_seconds=0, evaluate_every=10_000, fast=fast)
    ),
}


def main(rounds: int = ROUNDS) -> str:
    """All variants in turns; returns the table."""
    runs: dict[str, dict[str, list[dict[str, float]]]] = {kind: {variant: [] for variant in VARIANTS} for kind in KINDS}
    for seed in range(-1, rounds):
        for kind, fast in KINDS.items():
            for variant, work in VARIANTS.items():
                wall, cpu = time.perf_counter(), time.process_time()
                work(max(seed, 0), fast)
                cost = {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
                if seed >= 0:  # the round before is for what is imported by a first training
                    runs[kind][variant].append({name: round(value, 4) for name, value in cost.items()})
        write("features", "python -m benchmarks features", {"steps": STEPS, "runs": runs})
    return table(["", "", "wall s", "CPU s", "CPU more than alone"], _rows(runs))


def _bare(seed: int, fast: bool) -> None:
    trained(plan(seed, timesteps=STEPS, fast=fast))


def _rows(runs: dict[str, dict[str, list[dict[str, float]]]]) -> list[list[str]]:
    rows: list[list[str]] = []
    for kind, variants in runs.items():
        alone = _median(variants["training alone"], "cpu_seconds")
        for variant, costs in variants.items():
            wall, cpu = _median(costs, "wall_seconds"), _median(costs, "cpu_seconds")
            rows.append([kind, variant, f"{wall:.2f}", f"{cpu:.2f}", f"{100 * (cpu / alone - 1):+.0f} %"])
    return rows


def _median(costs: list[Any], what: str) -> float:
    return float(statistics.median(cost[what] for cost in costs))
