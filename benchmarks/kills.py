"""Kills: a training whose process is killed 20 times ends in the weights of one that never was.

Killed by SIGKILL: at random moments, or while it writes a checkpoint, after a random one of its files or with a part of
it written. Every algorithm in every kind of environment that it can act in, normalised and not, with copies of the
environment in the training's process and in processes of their own. Those trainings are small and forked from a process
that has imported everything; some larger ones are whole processes, begun by the command that a container runs.
"""

import hashlib
import json
import math
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.process_cost import ONE_THREAD
from benchmarks.results import ROOT, table, write
from benchmarks.trainings import Silent, plan

if TYPE_CHECKING:
    from training_image.trainer.plan import Plan

KILLS = 20
IN_CHECKPOINTS = 8
"""So many of them while a checkpoint is written."""

SEGMENTS = 24
"""Of a small training. They are shorter than the trainer's own, which have room for whole episodes."""

DISCRETE = ("CartPole-v1", "LunarLander-v3")
CONTINUOUS = ("Pendulum-v1", "LunarLanderContinuous-v3", "InvertedPendulum-v5")
ROLLOUT = {"n_envs": 2, "n_steps": 50, "net_arch": [16]}
CLIPPED = ROLLOUT | {"batch_size": 50, "n_epochs": 2}
REPLAY = {"n_envs": 2, "net_arch": [16], "batch_size": 16, "buffer_size": 3000, "learning_starts": 100} | {
    "train_freq": 10,
    "gradient_steps": 2,
}


@dataclass(frozen=True, kw_only=True)
class Algorithm:
    """What a case is called, how it is trained, and where it can act."""

    name: str
    environments: tuple[str, ...]
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    normalises: bool = True
    segment_steps: int = 200


ALGORITHMS = {
    "ppo, fast path": Algorithm(
        name="ppo", environments=DISCRETE + CONTINUOUS, hyperparameters=CLIPPED | {"use_sde": False}
    ),
    "ppo": Algorithm(name="ppo", environments=DISCRETE + CONTINUOUS, hyperparameters=CLIPPED | {"fast": False}),
    "a2c": Algorithm(name="a2c", environments=DISCRETE + CONTINUOUS, hyperparameters=ROLLOUT),
    "dqn, fast path": Algorithm(name="dqn", environments=DISCRETE, hyperparameters=REPLAY),
    "dqn": Algorithm(name="dqn", environments=DISCRETE, hyperparameters=REPLAY | {"fast": False}),
    "qrdqn, fast path": Algorithm(name="qrdqn", environments=DISCRETE, hyperparameters=REPLAY),
    "sac": Algorithm(name="sac", environments=CONTINUOUS, hyperparameters=REPLAY, segment_steps=100),
    "td3": Algorithm(name="td3", environments=CONTINUOUS, hyperparameters=REPLAY, segment_steps=100),
    "q-learning": Algorithm(
        name="q-learning",
        environments=("FrozenLake-v1",),
        hyperparameters={"n_envs": 2},
        normalises=False,
        segment_steps=1000,
    ),
}
PROCESSES: dict[str, dict[str, Any]] = {
    "CartPole-v1, fast path": {"id": "CartPole-v1", "steps": 2_000_000},
    "Pendulum-v1, fast path, normalised, processes": {
        "id": "Pendulum-v1",
        "steps": 150_000,
        "use_sde": False,
        "normalize": True,
        "parallel": "processes",
    },
    "CartPole-v1, Stable-Baselines3's class": {"id": "CartPole-v1", "steps": 600_000, "fast": False},
}


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training in pieces ended, beside a whole one."""

    kills: int
    in_checkpoint: int
    equal: bool


def main(kills: int = KILLS) -> str:
    """All cases; returns the table."""
    generator = random.Random(0)  # noqa: S311 - moments to kill at
    small: list[dict[str, Any]] = []
    large: list[dict[str, Any]] = []
    for title, algorithm, environment, normalised, parallel in _cases():
        outcome = _small(algorithm, environment, normalised, parallel, kills, generator)
        case = {"algorithm": title, "environment": environment, "normalised": normalised, "parallel": parallel}
        small.append(case | vars(outcome))
        print(small[-1], flush=True)  # noqa: T201
        write("kills", "python -m benchmarks kills", {"small": small, "processes": large})
    for title, settings in PROCESSES.items():
        large.append({"case": title, **vars(_large(settings, kills, generator))})
        print(large[-1], flush=True)  # noqa: T201
        write("kills", "python -m benchmarks kills", {"small": small, "processes": large})
    return _table(small, large)


def _cases() -> Iterator[tuple[str, Algorithm, str, bool, str]]:
    for title, algorithm in ALGORITHMS.items():
        for environment in algorithm.environments:
            for normalised in (False, True) if algorithm.normalises else (False,):
                for parallel in ("copies", "processes"):
                    yield title, algorithm, environment, normalised, parallel


def _table(small: list[dict[str, Any]], large: list[dict[str, Any]]) -> str:
    rows = []
    for title in ALGORITHMS:
        of = [one for one in small if one["algorithm"] == title]
        if not of:
            continue
        where = dict.fromkeys(one["environment"] for one in of)
        rows.append([title, ", ".join(where), str(len(of)), *_counts(of)])
    rows += [[one["case"], "as whole processes", "1", *_counts([one])] for one in large]
    return table(["", "", "trainings", "kills", "of them in a checkpoint", "final weights"], rows)


def _counts(of: list[dict[str, Any]]) -> list[str]:
    different = sum(not one["equal"] for one in of)
    sums = (sum(one[name] for one in of) for name in ("kills", "in_checkpoint"))
    return [*map(str, sums), f"{different} DIFFERENT" if different else "all equal"]


def _hash(folder: Path) -> str:
    return hashlib.sha256((folder / "model" / "policy.safetensors").read_bytes()).hexdigest()


# Small trainings, forked


def _small(
    algorithm: Algorithm, environment: str, normalised: bool, parallel: str, kills: int, generator: random.Random
) -> Outcome:
    from training_image.trainer import training

    of = _plan(algorithm, environment, normalised, parallel)
    # Equality holds by construction for segments of any length; as long as four episodes they would take hours.
    training.segment_steps = lambda **_: algorithm.segment_steps  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        _finish(_forked(of, folder / "whole"))
        segment_seconds = (time.monotonic() - began) / SEGMENTS
        killed = in_checkpoint = 0
        equal = True
        while killed < kills:  # a training may end before it was killed so often: then another one is
            cut = Path(tempfile.mkdtemp(dir=folder))
            ended = True
            while ended and killed < kills:
                writing = killed % (kills // IN_CHECKPOINTS or 1) == 0
                deadly = _Deadly(generator.randrange(1, 9), generator.random()) if writing else None
                ended = _killed(
                    _forked(of, cut, deadly), None if writing else generator.uniform(0, 2 * segment_seconds)
                )
                killed += ended
                in_checkpoint += ended and writing
            if ended:
                _finish(_forked(of, cut))
            equal &= _hash(cut) == _hash(folder / "whole")
    return Outcome(kills=killed, in_checkpoint=in_checkpoint, equal=equal)


def _plan(algorithm: Algorithm, environment: str, normalised: bool, parallel: str) -> "Plan":
    given = algorithm.hyperparameters | ({"normalize": True} if normalised else {})
    return plan(
        0,
        environment=environment,
        algorithm=algorithm.name,
        timesteps=SEGMENTS * algorithm.segment_steps,
        checkpoint_seconds=0,
        parallel=parallel,
        **given,
    )


def _forked(of: "Plan", folder: Path, deadly: "_Deadly | None" = None) -> int:
    """Train in a child of this process, with a process group of its own; returns its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setpgid(0, 0)
        if deadly:
            deadly.attach()
        _train(of, folder)
        code = 0
    except BaseException:  # whatever it is, the child must not go on as a second benchmark
        traceback.print_exc()
    finally:
        os._exit(code)


def _train(of: "Plan", folder: Path) -> None:
    from stable_baselines3.common.vec_env import SubprocVecEnv

    from training_image.trainer import training
    from training_image.trainer.envs import workers
    from training_image.trainer.recovery.stopping import Signals
    from training_image.trainer.storage import LocalStorage

    # A server of its own for each attempt would import everything again.
    workers.SubprocVecEnv = lambda builds, start_method: SubprocVecEnv(builds, start_method="fork")  # type: ignore[attr-defined, misc, assignment]
    training.train(of, LocalStorage(folder), Silent(), Signals())


def _finish(child: int) -> None:
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"a training ended with {os.waitstatus_to_exitcode(status)}")


def _killed(child: int, seconds: float | None) -> bool:
    """Whether a child was killed: after so many seconds by this process, or by itself. It may have ended before."""
    ends = math.inf if seconds is None else time.monotonic() + seconds
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            if os.WIFSIGNALED(status):
                return True
            if status:
                raise RuntimeError(f"a training ended with {os.waitstatus_to_exitcode(status)}")
            return False
        if time.monotonic() >= ends:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return True
        time.sleep(0.002)


class _Deadly:
    """Kills its process at the n-th write of a checkpoint's file: with a part of it written, or just after it."""

    def __init__(self, number: int, share: float) -> None:
        self._left = number
        self._share = share

    def attach(self) -> None:
        from training_image.trainer.storage import LocalStorage

        write = LocalStorage.write

        def dying(storage: LocalStorage, key: str, data: bytes) -> None:
            if "checkpoints" in Path(storage.uri).parts:
                self._left -= 1
            if self._left:
                write(storage, key, data)
                return
            if self._share < 0.7:
                target = Path(storage.uri) / key
                target.parent.mkdir(parents=True, exist_ok=True)
                with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".writing-", delete=False) as file:
                    file.write(data[: int(len(data) * self._share)])
            else:
                write(storage, key, data)
            os.killpg(0, signal.SIGKILL)

        LocalStorage.write = dying  # type: ignore[method-assign, assignment]


# Whole processes


def _large(case: dict[str, Any], kills: int, generator: random.Random) -> Outcome:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        expected, *_ = _run(folder / "whole", case, [])
        moments = [(number % 4 > 0, generator.uniform(0, 2)) for number in range(kills)]
        weights, killed, unfinished = _run(folder / "cut", case, moments)
    return Outcome(kills=killed, in_checkpoint=unfinished, equal=weights == expected)


def _run(folder: Path, case: dict[str, Any], moments: list[tuple[bool, float]]) -> tuple[str, int, int]:
    """Hash of the final weights, kills, and how many of them left an unfinished checkpoint.

    A moment is a number of seconds, after training has begun or, if not, after the process has.
    """
    _prepare(folder, case)
    command = [sys.executable, str(ROOT / "training_image" / "train_rl.py"), "--run", str(folder), "--seed", "0"]
    killed = unfinished = 0
    for moment in [*moments, None]:
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, env=os.environ | ONE_THREAD)
        if moment is None:
            process.wait()
            break
        while moment[0] and process.poll() is None and b'"started"' not in (folder / "log").read_bytes():
            time.sleep(0.01)
        try:
            process.wait(moment[1])
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            checkpoints = (folder / "seed-0" / "checkpoints").glob("*")
            unfinished += any(not (checkpoint / "manifest.json").exists() for checkpoint in checkpoints)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    weights = (folder / "seed-0" / "model" / "policy.safetensors").read_bytes()
    return hashlib.sha256(weights).hexdigest(), killed, unfinished


def _prepare(folder: Path, case: dict[str, Any]) -> None:
    """Write the run.json of a run that takes a checkpoint every second."""
    from contract.catalogue import load_catalogue
    from contract.run import ResolvedRun, RunSpecification, Source, resolve

    hyperparameters = {name: value for name, value in case.items() if name not in ("id", "steps", "parallel")}
    document = {
        "environment": {"id": case["id"]},
        "algorithm": {"hyperparameters": hyperparameters},
        "compute": {"parallel": case.get("parallel", "copies")},
        "timesteps": case["steps"],
        "validation": {"min_return": -1e6},
        "checkpoint": {"every_seconds": 1},
    }
    catalogue = load_catalogue()
    specification = RunSpecification.parse(json.dumps(document), catalogue)
    run = ResolvedRun(
        run_id="kills-0123456789ab",
        experiment="kills",
        source=Source(bucket="input", key="kills/run.yaml", version_id="1"),
        specification=resolve(specification, experiment="kills", catalogue=catalogue),
        submitted_at="2026-01-01T00:00:00+00:00",
        versions={},
    )
    folder.mkdir()
    (folder / "run.json").write_text(run.model_dump_json(), encoding="utf-8")
