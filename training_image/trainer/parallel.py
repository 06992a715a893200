"""How many copies of the environment are stepped side by side, and where: measured, where a run says `parallel: auto`.

What is chosen leaves the learning as it was tuned: rollouts keep their number of steps, and updates their number for
each step. It is noted in every checkpoint, so a resumed training goes on with the same.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from stable_baselines3.common.vec_env import VecEnv

from contract.hyperparameters import Hyperparameters
from training_image.trainer.envs import environments
from training_image.trainer.learning.algorithms import build_policy
from training_image.trainer.plan import Plan

MOST_COPIES = 64
SHORTEST_ROLLOUT = 32
"""Steps that a copy takes at least between updates, where it was tuned with more: returns are estimated from them."""

PROBE_SECONDS = 0.2
GOOD_ENOUGH = 0.9
"""Of the best speed: fewer copies are taken rather than a little more speed, which may be chance."""

WORTH_A_PROCESS = 3e-4
"""Seconds that a step must take for a process of its own to be tried: the way there and back takes about as long."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Copies of the environment, and the hyperparameters that make rollouts with them as long as they were."""

    copies: int
    changes: dict[str, int]
    processes: bool = False

    def __str__(self) -> str:
        return f"{self.copies} in {'processes of their own' if self.processes else 'this process'}"


def settle(plan: Plan, before: dict[str, Any] | None, log: Callable[[str], None]) -> Plan:
    """The plan with what was left open decided; `before` is what `settled` told an earlier attempt."""
    if plan.specification.compute.parallel != "auto":
        return plan
    if before is not None:
        return _with(plan, before["changes"], processes=before["processes"])
    measured = _measure(plan)
    best = max(speed for _, speed in measured)
    chosen = next(choice for choice, speed in measured if speed >= GOOD_ENOUGH * best)
    log(f"parallel: {chosen}. Steps a second: {'; '.join(f'{choice} {speed:,.0f}' for choice, speed in measured)}")
    return _with(plan, chosen.changes, processes=chosen.processes)


def settled(plan: Plan) -> dict[str, Any] | None:
    """What was decided for a plan; None when nothing was open."""
    if plan.planned is None:
        return None
    actual, before = plan.hyperparameters.model_dump(), plan.planned.model_dump()
    changes = {name: value for name, value in actual.items() if value != before[name]}
    return {"changes": changes, "processes": plan.processes}


def _with(plan: Plan, changes: dict[str, int], *, processes: bool) -> Plan:
    hyperparameters = plan.hyperparameters.model_copy(update=changes)
    return replace(plan, hyperparameters=hyperparameters, planned=plan.hyperparameters, processes=processes)


def choices(of: Hyperparameters) -> Iterator[Choice]:
    """Numbers of copies with which an update still learns from as many steps, fewest first."""
    tuned = of.n_envs or 1
    share = next((name for name in ("n_steps", "n_episodes", "train_freq") if getattr(of, name, None)), None)
    if share is None:  # it learns with every step, and how depends on the number of copies
        yield Choice(copies=tuned, changes={})
        return
    each = int(getattr(of, share))
    least = min(each, SHORTEST_ROLLOUT) if share == "n_steps" else 1
    for copies in sorted({tuned, *(2**power for power in range(MOST_COPIES.bit_length()))}):
        if (tuned * each) % copies == 0 and tuned * each // copies >= least:
            yield Choice(copies=copies, changes={"n_envs": copies, share: tuned * each // copies})


def _measure(plan: Plan) -> list[tuple[Choice, float]]:
    """Steps a second of each choice. Processes are tried only where a step is worth one, as many as processors."""
    of, possible = plan.specification.environment, list(choices(plan.hyperparameters))
    measured = [(choice, _speed(plan, choice)) for choice in possible]
    alone = environments.make(of, 1)
    seconds = 1 / _steps_a_second(alone, lambda _: np.array([alone.action_space.sample()]))
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    fitting = [choice for choice in possible if 1 < choice.copies <= processors]
    if seconds >= WORTH_A_PROCESS and fitting:
        apart = replace(fitting[-1], processes=True)
        measured.append((apart, _speed(plan, apart)))
    return measured


def _speed(plan: Plan, choice: Choice) -> float:
    """With the actions of an untrained policy: what a policy costs is shared by the copies."""
    environment = environments.make(plan.specification.environment, choice.copies, processes=choice.processes)
    algorithm = plan.specification.algorithm.name
    policy = build_policy(algorithm, environment.observation_space, environment.action_space, plan.hyperparameters)
    return _steps_a_second(environment, lambda met: policy.predict(met)[0])


def _steps_a_second(environment: VecEnv, act: Callable[[Any], Any]) -> float:
    """Measured after the first step, which may be slow; the environment is closed."""
    try:
        met = environment.reset()
        steps, began = -1, time.perf_counter()
        while steps < 1 or time.perf_counter() - began < PROBE_SECONDS:
            met = environment.step(act(met))[0]
            steps += 1
            if steps == 0:
                began = time.perf_counter()
        return steps * environment.num_envs / (time.perf_counter() - began)
    finally:
        environment.close()
