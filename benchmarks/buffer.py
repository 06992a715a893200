"""Buffer: what checkpoints of SAC with a replay buffer of a million transitions cost, in time and memory.

A model of SAC on HalfCheetah-v5 is given transitions as if it had taken them, and is captured and stored at every
segment, far more often than a run does: the worst case for whoever waits until what was begun is written. Then the
newest checkpoint is damaged in every way, and what is found must be the one before.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.process_cost import ONE_THREAD
from benchmarks.results import ROOT, table, write
from benchmarks.trainings import built, plan

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

CAPACITY, STEPS, SEGMENT = 1_000_000, 1_040_000, 4_000
ENVIRONMENT = "HalfCheetah-v5"


def main() -> str:
    """Measure in fresh processes; returns the table."""
    with tempfile.TemporaryDirectory() as folder:
        results = {part: _measured(part, folder) for part in ("fill", "store", "resume", "damage")}
    write("buffer", "python -m benchmarks buffer", {"capacity": CAPACITY, "steps": STEPS, "results": results})
    fill, store, resume, damage = results.values()
    rows = [
        ["buffer alone, full", "", f"{fill['peak_mb']:,.0f}"],
        [f"{store['checkpoints']} checkpoints on the way", _stall(store), f"{store['peak_mb']:,.0f}"],
        ["resume from the newest", f"{resume['seconds']:.1f} s once", f"{resume['peak_mb']:,.0f}"],
        [f"newest damaged in {damage['ways']} ways", f"the one before was found {damage['fell_back']} times", ""],
    ]
    return table(["", "training waits", "peak MB of the process"], rows)


def _stall(of: dict[str, Any]) -> str:
    return f"{of['median']:.3f} s in the median, {of['most']:.2f} s at most"


def _measured(part: str, folder: str) -> dict[str, Any]:
    code = f"import json; from benchmarks import buffer; print(json.dumps(buffer.{part}({folder!r})))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | ONE_THREAD, capture_output=True, text=True, check=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def fill(_: str) -> dict[str, Any]:
    """The full buffer without any checkpoint."""
    model = _model()
    for steps in range(SEGMENT, STEPS + 1, SEGMENT):
        _take(model, steps)
    return {"peak_mb": _peak()}


def store(folder: str) -> dict[str, Any]:
    """A checkpoint at every segment."""
    from training_image.trainer.recovery.checkpoints import Checkpoints
    from training_image.trainer.recovery.replay import Replay
    from training_image.trainer.recovery.state import capture
    from training_image.trainer.storage import LocalStorage

    checkpoints = Checkpoints(LocalStorage(Path(folder)), keep=3)
    replay, model, stalls = Replay(checkpoints.store_block), _model(), []
    for steps in range(SEGMENT, STEPS + 1, SEGMENT):
        _take(model, steps)
        began = time.perf_counter()
        parts = capture(model) | replay.capture(model)
        checkpoints.store(steps, parts, {}, replay.blocks(parts))
        stalls.append(time.perf_counter() - began)
    replay.close()
    seconds = {"median": statistics.median(stalls), "most": max(stalls)}
    return {"checkpoints": len(stalls), "peak_mb": _peak(), **{k: round(v, 4) for k, v in seconds.items()}}


def resume(folder: str) -> dict[str, Any]:
    """Find the newest checkpoint and put it back."""
    from training_image.trainer.recovery.checkpoints import Checkpoints
    from training_image.trainer.recovery.replay import Replay
    from training_image.trainer.recovery.state import restore
    from training_image.trainer.storage import LocalStorage

    model = _model()
    began = time.perf_counter()
    found = Checkpoints(LocalStorage(Path(folder)), keep=3).newest(print)
    assert found is not None
    assert found.timesteps == STEPS
    restore(model, found.parts)
    Replay(lambda number, data: "").restore(model, found.parts, found.blocks)
    buffer: Any = model.replay_buffer  # type: ignore[attr-defined]
    assert buffer.full
    oldest = STEPS - CAPACITY
    assert buffer.rewards[oldest % CAPACITY, 0] == oldest % 9973, "each transition is where it was"
    return {"seconds": round(time.perf_counter() - began, 2), "peak_mb": _peak()}


def damage(folder: str) -> dict[str, Any]:
    """Damage the newest checkpoint in every way, each time from what it was."""
    from training_image.trainer.recovery.checkpoints import Checkpoints
    from training_image.trainer.storage import LocalStorage

    root = Path(folder)
    newest = root / f"{STEPS:012d}"
    blocks = json.loads((newest / "manifest.json").read_text())["blocks"]
    before = json.loads((root / f"{STEPS - SEGMENT:012d}" / "manifest.json").read_text())["blocks"]
    own = [root / "blocks" / name / "rows.safetensors" for name in blocks if name not in before]
    fell_back, ways = 0, 0
    for file in (*sorted(newest.iterdir()), *own):
        content = file.read_bytes()
        middle = len(content) // 2
        for damaged in (None, content[:middle], content[:middle] + b"\0\1\2" + content[middle + 3 :], b""):
            if damaged is None:
                file.unlink()
            else:
                file.write_bytes(damaged)
            found = Checkpoints(LocalStorage(root), keep=3).newest(lambda warning: None)
            ways += 1
            fell_back += found is not None and found.timesteps == STEPS - SEGMENT
            file.write_bytes(content)
    return {"ways": ways, "fell_back": fell_back}


def _model() -> "BaseAlgorithm":
    model = built(plan(0, environment=ENVIRONMENT, algorithm="sac", buffer_size=CAPACITY))
    model._setup_learn(STEPS)
    return model


def _take(model: "BaseAlgorithm", steps: int) -> None:
    """The transitions of a segment, as if they had been met: rewards tell which is which."""
    import numpy as np

    buffer: Any = model.replay_buffer  # type: ignore[attr-defined]
    numbers = np.arange(steps - SEGMENT, steps)
    slots = numbers % CAPACITY
    generator = np.random.default_rng(steps)
    for array in (buffer.observations, buffer.next_observations, buffer.actions):
        array[slots] = generator.normal(size=(len(slots), *array.shape[1:]))
    buffer.rewards[slots, 0] = numbers % 9973
    buffer.pos, buffer.full = steps % CAPACITY, steps >= CAPACITY
    model.num_timesteps = steps


def _peak() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
