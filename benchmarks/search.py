"""Search: which hyperparameters of PPO on CartPole-v1 are fast and always end well. Not a part of `make bench`: hours.

`python -m benchmarks.search final` looks for policies that are good at the end of 100,000 steps, `solve` for such that
soon balance. Each configuration changes some of what is used now, drawn at random; all that were tried are counted. One
is given up at its first seed that fails, and once it takes longer than what is used now. Those that hold are compared
on seeds of their own (`--select`). The seeds that confirm the choice are those of `quality` and `solving`, and are used
for nothing else.
"""

import argparse
import json
import random
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

from benchmarks.results import FOLDER, table, write
from benchmarks.solving import SETTINGS, solve
from benchmarks.trainings import plan, trained

SEARCH_EPISODES = 2**33
SELECTION_EPISODES = 2**33 + 2**30
ENOUGH = 495


@dataclass(frozen=True, kw_only=True)
class Goal:
    """Seeds to search and to select with."""

    search: range
    selection: range


GOALS = {
    "final": Goal(search=range(11_000, 11_008), selection=range(13_000, 13_024)),
    "solve": Goal(search=range(12_000, 12_012), selection=range(16_000, 16_030)),
}
SPACE: dict[str, list[Any]] = {
    "n_envs": [16, 32, 64, 128],
    "n_steps": [16, 32, 64, 128],
    "batch_size": [256, 512, 1024],
    "n_epochs": [2, 3, 4, 5, 6],
    "learning_rate": ["lin_3e-3", "lin_4e-3", "lin_5e-3", "lin_7e-3", "lin_1e-2"],
    "ent_coef": [0.0, 1e-3, 3e-3],
    "gamma": [0.98, 0.99],
    "gae_lambda": [0.8, 0.9, 0.95],
    "clip_range": ["lin_0.2", "lin_0.3", 0.2, 0.3, 0.4],
    "max_grad_norm": [0.5, 1.0, 2.0],
    "net_arch": [[32], [64], [96], [16, 16], [32, 32]],
    "activation": ["tanh", "relu"],
}
MOST_CHANGES = 4
FEWEST_TIMED = 3
"""Seeds before a configuration is given up for the time that it takes."""


def draw(generator: random.Random, around: dict[str, Any], most: float) -> dict[str, Any]:
    """A configuration that is cheap enough, some changes away from another."""
    while True:
        changed = generator.sample(list(SPACE), generator.randint(1, MOST_CHANGES))
        drawn = around | {name: generator.choice(SPACE[name]) for name in changed}
        steps = drawn["n_envs"] * drawn["n_steps"]
        if drawn["batch_size"] <= steps <= 4096 and cost(drawn) <= most:
            return drawn


def cost(of: dict[str, Any]) -> float:
    """Seconds that 100,000 steps take, about: a minibatch, and a step of all copies, by the network's size."""
    hidden, deep = sum(of["net_arch"]), len(of["net_arch"]) > 1
    sample = 0.04 * hidden * (2.5 if of["activation"] == "tanh" else 1) / 16 + (0.25 if deep else 0) * hidden / 64
    minibatches, steps = 1e5 * of["n_epochs"] / of["batch_size"], 1e5 / of["n_envs"]
    return float(minibatches * (100 + sample * of["batch_size"]) + steps * (60 + 0.3 * of["n_envs"])) * 1e-6


def ends_well(of: dict[str, Any], seed: int, episodes: int) -> dict[str, Any]:
    """Train and play two sets of episodes."""
    from contract.run import EnvironmentSection
    from training_image.trainer.monitoring.evaluations import policy_of
    from training_image.trainer.policies.evaluation import play

    began = time.process_time()
    policy = policy_of(trained(plan(seed, **of)))
    seconds = time.process_time() - began
    cartpole = EnvironmentSection(id="CartPole-v1")
    sets = [play(policy, cartpole, episodes=100, seed=episodes + n * 2**20, record=False) for n in range(2)]
    worst = min(float(one.returns.mean()) for one in sets)
    return {"seed": seed, "good": worst >= ENOUGH, "return": worst, "cpu_seconds": round(seconds, 3)}


def solves(of: dict[str, Any], seed: int, episodes: int) -> dict[str, Any]:
    """Train until it balances."""
    solved = solve(seed, True, of, episodes)
    return {"good": solved["solved"], **solved}


def main(arguments: list[str] | None = None) -> int:
    """Search, or select among what a search kept."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description="Search hyperparameters.")
    parser.add_argument("goal", choices=list(GOALS))
    parser.add_argument("--minutes", type=float, default=30, metavar="N", help="try no configuration after this long")
    parser.add_argument("--most", type=float, default=0.35, metavar="S", help="estimated seconds of a configuration")
    parser.add_argument("--select", type=int, metavar="N", help="compare the N cheapest that held on all search seeds")
    options = parser.parse_args(arguments)
    path = FOLDER / f"search-{options.goal}.json"
    before: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    found: dict[str, Any] = {name: before.get(name, []) for name in ("tried", "selected")}
    runs: list[dict[str, Any]]
    goal, run = GOALS[options.goal], {"final": ends_well, "solve": solves}[options.goal]
    if options.select:
        held = [one for one in found["tried"] if len(one["runs"]) == len(goal.search) and one["runs"][-1]["good"]]
        for one in sorted(held, key=lambda one: _seconds(one["runs"]))[: options.select]:
            if all(one["number"] != known["number"] for known in found["selected"]):
                runs = [run(one["settings"], seed, SELECTION_EPISODES) for seed in goal.selection]
                found["selected"].append({**one, "runs": runs})
                _write(options.goal, goal, found)
    else:
        ends = time.monotonic() + 60 * options.minutes
        now = _seconds([run(_now(options.goal), seed, SEARCH_EPISODES) for seed in goal.search])
        number = max((one["number"] for one in found["tried"]), default=-1)
        while time.monotonic() < ends:
            number += 1
            settings = draw(random.Random(number), _now(options.goal), options.most)  # noqa: S311
            if any(settings == known["settings"] for known in found["tried"]):
                continue
            runs = []
            for seed in goal.search:
                runs.append(run(settings, seed, SEARCH_EPISODES))
                slow = len(runs) >= FEWEST_TIMED and _seconds(runs) > now
                if slow or not runs[-1]["good"]:
                    break
            found["tried"].append({"number": number, "settings": settings, "runs": runs})
            _write(options.goal, goal, found)
    sys.stdout.write(_table(found, goal) + "\n")
    return 0


def _now(goal: str) -> dict[str, Any]:
    """What is used now."""
    given = SETTINGS if goal == "solve" else {}
    used = plan(0, **given).hyperparameters.model_dump()
    return {name: used[name] for name in SPACE}


def _write(name: str, goal: Goal, found: dict[str, Any]) -> None:
    held = sum(len(one["runs"]) == len(goal.search) and one["runs"][-1]["good"] for one in found["tried"])
    seeds = {"search": str(goal.search), "selection": str(goal.selection)}
    counts = {"configurations_tried": len(found["tried"]), "held_on_all_search_seeds": held}
    write(f"search-{name}", f"python -m benchmarks.search {name}", {"seeds": seeds, **counts, **found})


def _seconds(runs: list[dict[str, Any]]) -> float:
    return float(statistics.median(run["cpu_seconds"] for run in runs))


def _table(found: dict[str, Any], goal: Goal) -> str:
    rows = []
    for one in sorted(found["selected"] or found["tried"], key=lambda one: _seconds(one["runs"])):
        good = sum(run["good"] for run in one["runs"])
        if good >= len(goal.search):
            rows.append(
                [
                    str(one["number"]),
                    f"{good} of {len(one['runs'])}",
                    f"{_seconds(one['runs']):.2f}",
                    str(one["settings"]),
                ]
            )
    return table(["number", "good", "CPU s, median", "settings"], rows)


if __name__ == "__main__":
    sys.exit(main())
