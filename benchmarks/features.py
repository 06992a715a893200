"""Features: what checkpoints, metrics and evaluations add to 200,000 steps of PPO on CartPole-v1, in this process."""

import statistics
import time
from collections.abc import Callable

from benchmarks.results import table, write
from benchmarks.trainings import plan, train, trained

STEPS = 200_000
KINDS = {"fast path": (True, 15), "Stable-Baselines3's class": (False, 7)}
"""Whether the fast path is taken, and in how many rounds."""
VARIANTS: dict[str, Callable[[int, bool], None]] = {
    "training alone": lambda seed, fast: _bare(seed, fast),
    "with metrics and checkpoints, as a run file has them": lambda seed, fast: train(
        plan(seed, timesteps=STEPS, fast=fast)
    ),
    "with metrics, and a checkpoint at every segment": lambda seed, fast: train(
        plan(seed, timesteps=STEPS, checkpoint_seconds=0, fast=fast)
    ),
    "as a run file has them, and 100 episodes of evaluation every 10,000 steps": lambda seed, fast: train(
        plan(seed, timesteps=STEPS, evaluate_every=10_000, fast=fast)
    ),
}


def main() -> str:
    """All variants in turns; returns the table."""
    runs: dict[str, dict[str, list[dict[str, float]]]] = {kind: {variant: [] for variant in VARIANTS} for kind in KINDS}
    for kind, (fast, rounds) in KINDS.items():
        for number in range(-1, rounds):
            for variant, work in VARIANTS.items():
                wall, cpu = time.perf_counter(), time.process_time()
                work(max(number, 0), fast)
                cost = {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
                if number >= 0:  # the round before is for what is imported by a first training
                    runs[kind][variant].append({name: round(value, 4) for name, value in cost.items()})
            write("features", "python -m benchmarks features", {"steps": STEPS, "runs": runs})
    header = ["", "", "rounds", "wall s", "CPU s", "CPU more than alone, median of the rounds", "quartiles"]
    return table(header, _rows(runs))


def _bare(seed: int, fast: bool) -> None:
    trained(plan(seed, timesteps=STEPS, fast=fast))


def _rows(runs: dict[str, dict[str, list[dict[str, float]]]]) -> list[list[str]]:
    rows: list[list[str]] = []
    for kind, variants in runs.items():
        alone = variants["training alone"]
        for variant, costs in variants.items():
            wall, cpu = (statistics.median(cost[what] for cost in costs) for what in ("wall_seconds", "cpu_seconds"))
            pairs = zip(costs, alone, strict=True)
            more = [100 * (cost["cpu_seconds"] / before["cpu_seconds"] - 1) for cost, before in pairs]
            low, middle, high = statistics.quantiles(more, n=4)
            spread = "" if costs is alone else f"{low:+.0f} to {high:+.0f} %"
            rows.append([kind, variant, str(len(costs)), f"{wall:.2f}", f"{cpu:.2f}", f"{middle:+.0f} %", spread])
    return rows
