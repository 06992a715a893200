"""Kills: a training whose process is killed 20 times at random moments ends in the weights of one that never was.

Killed by SIGKILL anywhere: while modules are imported, in a step, in an update, while a checkpoint is written.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.process_cost import ONE_THREAD
from benchmarks.results import ROOT, table, write

KILLS = 20
CASES: dict[str, dict[str, Any]] = {
    "CartPole-v1, fast path": {"id": "CartPole-v1", "steps": 2_000_000},
    "CartPole-v1, fast path, normalised": {"id": "CartPole-v1", "steps": 1_500_000, "normalize": True},
    "Pendulum-v1, fast path": {"id": "Pendulum-v1", "steps": 300_000, "use_sde": False},
    "CartPole-v1, Stable-Baselines3's class": {"id": "CartPole-v1", "steps": 600_000, "fast": False},
}


def main(kills: int = KILLS) -> str:
    """Every case once whole and once in pieces; returns the table."""
    generator = random.Random(0)  # noqa: S311 - moments to kill at
    results = []
    for name, case in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            whole, cut = Path(folder) / "whole", Path(folder) / "cut"
            expected, _, _ = _run(whole, case, [])
            moments = [(number % 4 > 0, generator.uniform(0, 2)) for number in range(kills)]
            weights, killed, in_checkpoint = _run(cut, case, moments)
        results.append(
            {
                "case": name,
                "kills": killed,
                "in_checkpoint": in_checkpoint,
                "equal": weights == expected,
                "sha256": weights,
            }
        )
        write("kills", "python -m benchmarks kills", {"results": results})
    rows = [
        [str(one["case"]), str(one["kills"]), str(one["in_checkpoint"]), "equal" if one["equal"] else "DIFFERENT"]
        for one in results
    ]
    return table(["", "kills", "of them while a checkpoint was unfinished", "final weights"], rows)


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

    hyperparameters = {name: value for name, value in case.items() if name not in ("id", "steps")}
    document = {
        "environment": {"id": case["id"]},
        "algorithm": {"hyperparameters": hyperparameters},
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
