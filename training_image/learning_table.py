"""What each algorithm learns, held against rl-baselines3-zoo's benchmark: `python -m training_image.learning_table`.

Each case is trained with the tuned hyperparameters that ship, for no more steps than the zoo trained, and its policy
then plays 100 held-out episodes. Results go into a JSON file, one entry a case and seed, so a run can be stopped and
continued; `learning.md` beside it is made from all that it holds.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.run import EnvironmentSection
from training_image.trainer import threads  # noqa: F401 - before numpy and torch
from training_image.trainer.monitoring.reporting import LineReporter
from training_image.trainer.plan import plan_by_hand
from training_image.trainer.recovery.stopping import Signals
from training_image.trainer.storage import LocalStorage

FOLDER = Path(__file__).parents[1] / "docs" / "algorithms"
RESULTS = "learning.json"
TABLE = "learning.md"
EPISODES = 100
CURVE_POINTS = 60


@dataclass(frozen=True, kw_only=True)
class Case:
    """One row. `zoo` is the mean return in the zoo's benchmark.md, None where it has none; it is after as many steps,
    or after `zoo_timesteps`."""

    algorithm: str
    environment: str
    timesteps: int
    zoo: float | None
    zoo_timesteps: int | None = None

    @property
    def name(self) -> str:
        """As `--only` takes it."""
        return f"{self.algorithm}:{self.environment}"

    @property
    def zoo_has(self) -> str:
        """The zoo's value, in words."""
        if self.zoo is None:
            return "-"
        return f"{self.zoo:.1f}" + (f" after {self.zoo_timesteps:,}" if self.zoo_timesteps else "")

    def has(self, result: dict[str, Any]) -> bool:
        """Whether a result is of this case."""
        return all(result[name] == getattr(self, name) for name in ("algorithm", "environment", "timesteps"))


def _case(
    algorithm: str, environment: str, timesteps: int, zoo: float | None = None, zoo_timesteps: int | None = None
) -> Case:
    return Case(algorithm=algorithm, environment=environment, timesteps=timesteps, zoo=zoo, zoo_timesteps=zoo_timesteps)


# Cheap ones first. The zoo's LunarLander was v2, which Gymnasium has replaced by v3.
CASES = (
    _case("ppo", "CartPole-v1", 100_000, 500.0),
    _case("q-learning", "FrozenLake-v1", 300_000),
    _case("q-learning", "CliffWalking-v1", 100_000),
    _case("q-learning", "Taxi-v4", 500_000),
    _case("reinforce", "CartPole-v1", 200_000),
    _case("dqn", "CartPole-v1", 50_000, 500.0),
    _case("ppo", "Pendulum-v1", 100_000, -172.225),
    _case("ppo", "MountainCarContinuous-v0", 20_000, 88.343),
    _case("maskable-ppo", "Taxi-v4", 300_000),
    _case("qrdqn", "CartPole-v1", 50_000, 500.0),
    _case("a2c", "MountainCarContinuous-v0", 100_000, 91.166),
    _case("td3", "Pendulum-v1", 20_000, -151.855),
    _case("sac", "Pendulum-v1", 20_000, -156.995),
    _case("tqc", "Pendulum-v1", 20_000),
    _case("recurrent-ppo", "CartPole-v1", 100_000),
    _case("dqn", "MountainCar-v0", 120_000, -100.849),
    _case("td3", "MountainCarContinuous-v0", 50_000, 93.483, zoo_timesteps=300_000),
    _case("sac", "MountainCarContinuous-v0", 50_000, 94.679),
    _case("a2c", "CartPole-v1", 500_000, 500.0),
    _case("ppo", "Acrobot-v1", 1_000_000, -73.506),
    _case("ppo", "MountainCar-v0", 1_000_000, -110.423),
    _case("a2c", "Acrobot-v1", 500_000, -83.353),
    _case("dqn", "Acrobot-v1", 100_000, -76.639),
    _case("qrdqn", "MountainCar-v0", 120_000, -106.042),
    _case("qrdqn", "Acrobot-v1", 100_000, -69.135),
    _case("tqc", "MountainCarContinuous-v0", 50_000, 63.641),
    _case("a2c", "MountainCar-v0", 1_000_000, -111.263),
    _case("a2c", "Pendulum-v1", 1_000_000, -162.965),
    _case("ppo", "FrozenLake-v1", 200_000),
    _case("ppo", "Taxi-v4", 500_000),
    _case("ppo", "LunarLander-v3", 1_000_000, 242.119),
    _case("ppo", "LunarLanderContinuous-v3", 1_000_000, 270.863),
    _case("dqn", "LunarLander-v3", 100_000, 154.382),
    _case("qrdqn", "LunarLander-v3", 100_000, 70.236),
    _case("a2c", "LunarLander-v3", 200_000, 155.751),
    _case("td3", "LunarLanderContinuous-v3", 300_000, 207.451),
    _case("sac", "LunarLanderContinuous-v3", 500_000, 260.390),
    _case("tqc", "LunarLanderContinuous-v3", 500_000, 277.956),
)


def main(arguments: list[str] | None = None) -> int:
    """Train what the results do not have yet, one seed of every case before the next; then write the table."""
    options = _parse(arguments)
    folder = Path(options.output)
    results = read(folder)
    cases = [case for case in CASES if not options.only or case.name in options.only]
    ends = time.monotonic() + 60 * options.minutes
    for seed in range(options.seeds):
        for case in cases:
            if time.monotonic() >= ends:
                break
            if not any(known["seed"] == seed and case.has(known) for known in results):
                results.append(measure(case, seed))
                folder.mkdir(parents=True, exist_ok=True)
                (folder / RESULTS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
                (folder / TABLE).write_text(table(results), encoding="utf-8")
    sys.stdout.write(table(results))
    return 0


def read(folder: Path) -> list[dict[str, Any]]:
    """All results there are."""
    path = folder / RESULTS
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def measure(case: Case, seed: int) -> dict[str, Any]:
    """Train a case with one seed and let the policy play."""
    from training_image.trainer.policies import model
    from training_image.trainer.policies.evaluation import HELD_OUT_SEEDS, play
    from training_image.trainer.training import train

    document = {
        "environment": {"id": case.environment},
        "algorithm": {"name": case.algorithm},
        "timesteps": case.timesteps,
        "limits": {"max_hours": 168},
    }
    folder = Path(tempfile.mkdtemp(prefix="learning-"))
    try:
        storage = LocalStorage(folder)
        begun = time.process_time()
        train(plan_by_hand("learning", document, seed), storage, LineReporter(sys.stderr), Signals())
        seconds = time.process_time() - begun
        trained, environment = model.read(storage.below("model")), EnvironmentSection(id=case.environment)
        played = play(trained.graph, environment, episodes=EPISODES, seed=HELD_OUT_SEEDS)
        lines = [json.loads(line) for line in (storage.read("metrics.jsonl") or b"").splitlines()]
    finally:
        shutil.rmtree(folder)
    return {
        "algorithm": case.algorithm,
        "environment": case.environment,
        "timesteps": case.timesteps,
        "seed": seed,
        "mean_return": round(float(played.returns.mean()), 3),
        "std_return": round(float(played.returns.std()), 3),
        "cpu_seconds": round(seconds, 1),
        "curve": _thinned([[line["timesteps"], line["mean_return"]] for line in lines if "mean_return" in line]),
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results as Markdown, and after them what was not run."""
    rows, missing = [], []
    for case in CASES:
        of = [result for result in results if case.has(result)]
        if not of:
            missing.append(f"{case.name} ({case.timesteps:,} steps)")
            continue
        returns = sorted(result["mean_return"] for result in of)
        median = statistics.median(returns)
        gap = "-" if case.zoo is None else f"{median - case.zoo:+.1f}"
        seconds = statistics.median(result["cpu_seconds"] for result in of)
        rows.append(
            f"| {case.algorithm} | {case.environment} | {case.timesteps:,} | {len(of)} | {median:.1f} | "
            f"{returns[0]:.1f} to {returns[-1]:.1f} | {case.zoo_has} | {gap} | {seconds:.0f} |"
        )
    head = (
        "# What each algorithm learns\n\n"
        f"Mean return over {EPISODES} held-out episodes of each seed's final policy: median and range over the seeds. "
        "The zoo's value is the mean return of its one trained agent (rl-baselines3-zoo, benchmark.md; its LunarLander "
        "is v2), after as many steps where no other number stands beside it. Written by "
        "`python -m training_image.learning_table`.\n\n"
        "| algorithm | environment | steps | seeds | median | range | zoo | difference | CPU s |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
    )
    tail = "".join(f"- {name}\n" for name in missing)
    return head + "\n".join(rows) + "\n" + (f"\nNot run yet:\n\n{tail}" if missing else "")


def _thinned(points: list[list[float]]) -> list[list[float]]:
    step = max(1, len(points) // CURVE_POINTS)
    return points[::-step][::-1]


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="learning_table", description="Train every case and compare.")
    parser.add_argument("--seeds", type=int, default=5, metavar="N", help="seeds of each case (default 5)")
    parser.add_argument("--only", nargs="*", metavar="ALGORITHM:ENVIRONMENT", help="these cases (default all)")
    parser.add_argument("--minutes", type=float, default=60 * 24, metavar="N", help="begin no training after this long")
    parser.add_argument("--output", default=str(FOLDER), metavar="DIR", help="where the results are and go")
    options = parser.parse_args(arguments)
    known = [case.name for case in CASES]
    if unknown := [name for name in options.only or [] if name not in known]:
        parser.error(f"--only {unknown[0]}: one of {', '.join(known)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
