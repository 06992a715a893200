"""Solving: time until a policy of CartPole-v1 reaches 475 on two separate sets of 100 episodes, on fresh seeds.

In this process, from building the model on; the looks at the policy are in the time. There is one every 2048 steps or
more, once the training's own episodes last `PROMISING` steps.
"""

import statistics
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.results import table, write
from benchmarks.trainings import Seeds, built, plan
from contract.run import EnvironmentSection

if TYPE_CHECKING:
    from training_image.trainer.evaluation import Policy

SEEDS = Seeds(
    search="2000-2007 and 12000-12007, by which 30 and 89 configurations were tried and 5 and 18 kept; none was faster",
    selection="6000-6029 and 7000-7029, by which 4 of those 5 and the schedule's length were compared",
    confirmation="8000-8029: these 30",
    episodes="two sets of 100 episodes, drawn by the seed 2**35, used for this alone",
)
FIRST, COUNT = 8000, 30
EPISODE_SEED = 2**35
ENOUGH, LOOK_STEPS, PROMISING = 475, 2048, 150
SETS, EPISODES, LONGEST = 2, 100, 500
SETTINGS: dict[str, Any] = {
    "n_envs": 16,
    "n_steps": 128,
    "batch_size": 256,
    "n_epochs": 4,
    "learning_rate": "lin_5e-3",
    "gamma": 0.99,
    "gae_lambda": 0.8,
    "clip_range": 0.2,
    "net_arch": [32, 32],
    "max_grad_norm": 0.5,
}
KINDS = {"fast path": True, "Stable-Baselines3's class": False}


def main(count: int = COUNT) -> str:
    """Solve with all seeds, both classes in turn; returns the table."""
    solved: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for fast in KINDS.values():
        solve(0, fast, SETTINGS, EPISODE_SEED)  # what is imported by a first training
    for seed in range(FIRST, FIRST + count):
        for kind, fast in KINDS.items():
            solved[kind].append(solve(seed, fast, SETTINGS, EPISODE_SEED))
        write("solving", "python -m benchmarks solving", {"seeds": asdict(SEEDS), "settings": SETTINGS, "runs": solved})
    rows = []
    for kind, runs in solved.items():
        done = [run for run in runs if run["solved"]]
        wall, cpu = (sorted(run[what] for run in done) for what in ("wall_seconds", "cpu_seconds"))
        rows.append(
            [
                kind,
                f"{len(done)} of {len(runs)}",
                f"{statistics.median(wall):.2f}",
                f"{statistics.median(cpu):.2f}",
                f"{cpu[-1]:.2f}",
                f"{statistics.median(run['steps'] for run in done):,.0f}",
            ]
        )
    return table(["", "solved", "wall s, median", "CPU s, median", "CPU s, most", "steps, median"], rows)


def _balances(policy: "Policy", seed: int) -> bool:
    """Whether each of two sets of 100 episodes returns `ENOUGH` in the mean; all are played side by side, and given up
    once those of a set cannot any more, for each step returns 1."""
    from training_image.trainer import environments

    environment = environments.make(EnvironmentSection(id="CartPole-v1"), SETS * EPISODES)
    environment.seed(seed)
    observations = np.asarray(environment.reset())
    playing, lost = np.ones((SETS, EPISODES), bool), np.zeros(SETS, int)
    for step in range(1, LONGEST + 1):
        observations, _, dones, _ = environment.step(policy.act(observations))  # type: ignore[assignment]
        if dones.any():
            over = dones.reshape(SETS, EPISODES)
            lost += (LONGEST - step) * (over & playing).sum(axis=1)
            playing &= ~over
            if lost.max() > (LONGEST - ENOUGH) * EPISODES:
                return False
    return True


def solve(seed: int, fast: bool, settings: dict[str, Any], episode_seed: int) -> dict[str, Any]:
    """Train until two sets of episodes are good; what it took."""
    from stable_baselines3.common.callbacks import BaseCallback

    from training_image.trainer.evaluations import policy_of

    class Look(BaseCallback):
        """Ends training once the policy is good enough. It is not looked at while many of its episodes end."""

        looked_at = 0
        promises = solved = False

        def _on_step(self) -> bool:
            return not self.solved

        def _on_rollout_end(self) -> None:
            begun = self.model.rollout_buffer.episode_starts  # type: ignore[attr-defined]
            self.promises = PROMISING * np.count_nonzero(begun) <= begun.size

        def _on_rollout_start(self) -> None:
            if not self.promises or self.model.num_timesteps - self.looked_at < LOOK_STEPS:
                return
            self.looked_at = self.model.num_timesteps
            self.solved = _balances(policy_of(self.model), episode_seed)
            if self.solved:
                self.wall, self.cpu = time.perf_counter() - wall, time.process_time() - cpu

    wall, cpu = time.perf_counter(), time.process_time()
    look = Look()
    of = plan(seed, fast=fast, **settings)
    built(of).learn(of.specification.timesteps, callback=look, log_interval=None)  # type: ignore[arg-type]
    if not look.solved:
        return {"seed": seed, "solved": False}
    seconds = {"wall_seconds": round(look.wall, 4), "cpu_seconds": round(look.cpu, 4)}
    return {"seed": seed, "solved": True, "steps": look.looked_at, **seconds}
