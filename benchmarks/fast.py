"""Fast: DQN and QR-DQN on the fast path, by our trainer with the library's own class, and by the library alone.

All have the same hyperparameters and run in this process; ours with metrics, checkpoints and the model folder.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.results import table, write
from benchmarks.trainings import plan, train

ROUNDS = 3
CASES = {
    "DQN, CartPole-v1": ("dqn", "CartPole-v1", 4_000),
    "DQN, MountainCar-v0": ("dqn", "MountainCar-v0", 4_000),
    "DQN, LunarLander-v3": ("dqn", "LunarLander-v3", 2_000),
    "QR-DQN, CartPole-v1": ("qrdqn", "CartPole-v1", 4_000),
    "QR-DQN, Acrobot-v1": ("qrdqn", "Acrobot-v1", 2_000),
}
"""Algorithm, environment and steps."""
WAYS: dict[str, Callable[[int, str, str, int], None]] = {
    "fast path": lambda seed, algorithm, environment, steps: train(
        plan(seed, algorithm=algorithm, environment=environment, timesteps=steps)
    ),
    "the library's class": lambda seed, algorithm, environment, steps: train(
        plan(seed, algorithm=algorithm, environment=environment, timesteps=steps, fast=False)
    ),
    "the library alone": lambda seed, algorithm, environment, steps: _alone(seed, algorithm, environment, steps),
}


def main() -> str:
    """Everything in turns; returns the table."""
    runs: dict[str, dict[str, list[float]]] = {case: {way: [] for way in WAYS} for case in CASES}
    for number in range(-1, ROUNDS):
        for case, (algorithm, environment, steps) in CASES.items():
            for way, work in WAYS.items():
                begun = time.process_time()
                work(max(number, 0), algorithm, environment, steps)
                if number >= 0:  # the round before is for what is imported by a first training
                    runs[case][way].append(round(time.process_time() - begun, 3))
        write("fast", "python -m benchmarks fast", {"cases": CASES, "cpu_seconds": runs})
    return table(["", "steps", "rounds", *(f"{way}, CPU s" for way in WAYS), *_RATIOS], _rows(runs))


_RATIOS = ("the library's class / fast path", "the library alone / fast path")


def _rows(runs: dict[str, dict[str, list[float]]]) -> list[list[str]]:
    rows = []
    for case, costs in runs.items():
        fast, own, alone = costs.values()
        ratios = [
            statistics.median(slow / quick for slow, quick in zip(others, fast, strict=True)) for others in (own, alone)
        ]
        seconds = [f"{statistics.median(some):.1f}" for some in (fast, own, alone)]
        rows.append([case, f"{CASES[case][2]:,}", str(len(fast)), *seconds, *(f"{ratio:.1f}" for ratio in ratios)])
    return rows


def _alone(seed: int, algorithm: str, environment: str, steps: int) -> None:
    """As its documentation shows it: one environment, `learn`, torch's own Adam."""
    import torch
    from sb3_contrib import QRDQN
    from stable_baselines3 import DQN

    from training_image.trainer.learning.algorithms import schedule

    hyperparameters = plan(seed, algorithm=algorithm, environment=environment, timesteps=steps).hyperparameters
    given: dict[str, Any] = hyperparameters.model_dump(exclude={"n_envs", "normalize", "fast", "activation"})
    network = {name: given.pop(name) for name in ("net_arch", "n_quantiles") if name in given}
    rate = schedule(given.pop("learning_rate"))
    torch.set_num_threads(1)
    kind: Any = {"dqn": DQN, "qrdqn": QRDQN}[algorithm]
    model = kind("MlpPolicy", environment, seed=seed, learning_rate=rate, policy_kwargs=network, **given)
    model.learn(steps)
