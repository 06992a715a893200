"""Small trainings, and what to ask of them."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from contract.catalogue import load_catalogue
from contract.events import Event
from contract.layout import CHECKPOINTS, MODEL
from contract.outcomes import ExitCode
from contract.run import CheckpointSection, LimitsSection, ResolvedRun, RunSpecification, Source, resolve
from training_image.trainer.envs import observations as batches
from training_image.trainer.envs.observations import Batch
from training_image.trainer.plan import Plan, plan_by_hand
from training_image.trainer.policies.graph import PolicyGraph
from training_image.trainer.policies.served import (
    AT_ONCE,
    MIN_OBSERVATIONS,
    ServedPolicy,
    prove_equal,
    some_masks,
    to_compare,
)
from training_image.trainer.recovery.stopping import Signals
from training_image.trainer.storage import LocalStorage
from training_image.trainer.training import Result, train

ROOT = Path(__file__).parents[3]

SMALL = {"n_envs": 2, "n_steps": 200, "batch_size": 200, "n_epochs": 2, "net_arch": [8]}
"""With 200-step episodes: segments of 1600 steps, 4 updates each."""


def small_plan(
    environment: str = "CartPole-v0",
    *,
    timesteps: int = 4800,
    seed: int = 0,
    every_seconds: float | None = 0.0,
    keep: int = 100,
    limits: dict[str, Any] | None = None,
    algorithm: str | None = None,
    sections: dict[str, Any] | None = None,
    log: str | None = None,
    **hyperparameters: Any,
) -> Plan:
    """A training of a second. Checkpoints come at every segment: less time between them than a run file may ask for."""
    document = {
        "environment": {"id": environment} | (sections or {}).get("environment", {}),
        "compute": (sections or {}).get("compute", {}),
        "algorithm": {
            "name": algorithm or "ppo",
            "hyperparameters": hyperparameters if algorithm else SMALL | hyperparameters,
        },
        "timesteps": timesteps,
        "data": (sections or {}).get("data", {"kind": "transitions"} if log else None),
    }
    plan = plan_by_hand("run", document, seed)
    specification = plan.specification.model_copy(
        update={
            "checkpoint": CheckpointSection.model_construct(every_seconds=every_seconds, keep=keep),
            "limits": LimitsSection.model_validate(limits or {}),
        }
    )
    return Plan(run_id="run", specification=specification, seed=seed, hyperparameters=plan.hyperparameters, log=log)


class Recorder:
    """A reporter that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.lines: list[str] = []

    def report(self, event: Event) -> None:
        self.events.append(event)

    def log(self, text: str) -> None:
        self.lines.append(text)

    def close(self) -> None:
        pass

    def of(self, name: str) -> list[Any]:
        return [event for event in self.events if event["event"] == name]


class Killed(BaseException):
    """Nothing in the trainer catches it, as nothing catches SIGKILL."""


class KilledAt(Recorder):
    """Ends training, without a word, when a checkpoint at this step or later was reported."""

    def __init__(self, timesteps: int) -> None:
        super().__init__()
        self._timesteps = timesteps

    def report(self, event: Event) -> None:
        super().report(event)
        if event["event"] == "checkpoint" and event["timesteps"] >= self._timesteps:
            raise Killed


def run(plan: Plan, folder: Path, reporter: Recorder | None = None, signals: Signals | None = None) -> Result:
    """Train in this process."""
    return train(plan, LocalStorage(folder), reporter or Recorder(), signals or Signals())


def fingerprint(folder: Path) -> str:
    """A hash of all that training ended with: weights, optimiser, counters, normaliser."""
    newest = max(path for path in (folder / CHECKPOINTS).iterdir() if path.name.isdigit())
    parts = [*sorted(newest.glob("*.safetensors")), *sorted((folder / MODEL).glob("*.safetensors"))]
    counters = json.loads((newest / "counters.json").read_text())
    counters["blocks"] = json.loads((newest / "manifest.json").read_text())["blocks"]
    # Monitor notes at what second of the process an episode ended; everything else must be the same.
    for episode in counters["ep_info_buffer"]:
        del episode["t"]
    digest = hashlib.sha256(json.dumps(counters).encode())
    for part in parts:
        digest.update(part.read_bytes())
    return digest.hexdigest()


def assert_resumes_exactly(plan: Plan, whole: Path, folder: Path, *, killed_at: int) -> None:
    """Killed at a step and resumed in `folder`, a training ends in the weights of the uninterrupted one in `whole`."""
    with pytest.raises(Killed):
        run(plan, folder, KilledAt(killed_at))
    resumed = Recorder()
    assert run(plan, folder, resumed).exit_code == ExitCode.DONE
    assert resumed.of("started")[0]["timesteps"] >= killed_at
    assert fingerprint(folder) == fingerprint(whole)


def checkpoints(folder: Path) -> list[int]:
    """The steps of the checkpoints there are, complete or not."""
    return sorted(int(path.name) for path in (folder / CHECKPOINTS).iterdir() if path.name.isdigit())


def script(name: str, *arguments: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run a script as a person does."""
    command = [sys.executable, str(ROOT / "training_image" / name), *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120, check=False)


def write_run(
    folder: Path, *, run_id: str = "small-0123456789ab", seeds: list[int] | None = None, **sections: Any
) -> ResolvedRun:
    """A prepared run in a local folder."""
    document = {"environment": {"id": "CartPole-v0"}, "timesteps": 4800, "seeds": seeds or [0], **sections}
    document.setdefault("algorithm", {"hyperparameters": SMALL})
    specification = RunSpecification.parse(json.dumps(document))
    prepared = ResolvedRun(
        run_id=run_id,
        experiment="small",
        source=Source(bucket="input", key="small/run.yaml", version_id="v1"),
        specification=resolve(specification, experiment="small", catalogue=load_catalogue()),
        submitted_at="2026-01-01T00:00:00+00:00",
        versions={},
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(prepared.model_dump_json())
    return prepared


def assert_acts_as_trained(served: ServedPolicy, graph: PolicyGraph, space: Any, recorded: Batch) -> None:
    """On recorded and extreme observations, 10,000 and more: as validation proves it, and beside the policy's own
    `predict`, whose every action must be what is served, or level with it to within the rounding of two engines."""
    observations = to_compare(space, recorded)
    count = batches.size(observations)
    assert prove_equal(served, graph, space, recorded) == count >= MIN_OBSERVATIONS
    different = 0
    for first in range(0, count, AT_ONCE):
        given: dict[str, Any] = {}
        state: Any = None
        several = batches.take(observations, slice(first, first + AT_ONCE))
        size = batches.size(several)
        if graph.choices:
            given["masks"] = some_masks(graph.choices, size)
        for _ in range(3 if graph.memory else 1):
            actions, memory = served.answer(several, **given)
            expected, state = _predicted(graph, several, state, given.get("masks"))
            assert actions.shape == expected.shape
            assert not graph.differences(several, actions, **given).any()
            assert not graph.differences(several, expected.astype(actions.dtype), **given).any()
            different += int((~np.isclose(actions, expected, rtol=1e-4, atol=1e-5)).reshape(size, -1).any(axis=1).sum())
            given |= {"memory": memory} if graph.memory else {}
    assert different <= count / 10_000, "hardly any choice is level with another"


def _predicted(graph: PolicyGraph, observations: Batch, state: Any, masks: Any) -> tuple[Any, Any]:
    """What Stable-Baselines3 says by itself of observations as its networks take them."""
    policy: Any = graph._policy
    with torch.no_grad():
        prepared = graph.prepared(batches.tensors(observations))
    given = {key: part.numpy() for key, part in prepared.items()} if isinstance(prepared, dict) else prepared.numpy()
    if graph.choices:
        return policy.predict(given, deterministic=True, action_masks=masks)
    return policy.predict(given, state, deterministic=True)
