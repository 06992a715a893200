"""Pauses: runs that are paused at 20 random moments and resumed end in the weights of one that never was.

And stopped, or aborted in the console, in each state: no process is left, and the checkpoints are kept.
"""

import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.results import table, write
from contract.control import Phase
from contract.outcomes import Outcome
from embedded_aws import lifecycle
from tests.pipeline.conftest import free_port
from tests.pipeline.laptop import Laptop, until
from tests.pipeline.replay import Replay
from tests.pipeline.test_control import LONG, processes_of, queued, training, validating, weights

PATIENCE = 900.0
"""Seconds that anything may take on a machine that others use too."""

TRIES = 20
"""Runs in which a moment is looked for."""

APPROVED = LONG.replace("target: none", "approval: manual")


def begun(laptop: Laptop, run_id: str) -> bool:
    """Its first job is submitted or starts."""
    return bool(laptop.record(run_id))


def checkpointing(laptop: Laptop, run_id: str) -> bool:
    """A checkpoint is being written: its folder is there and its manifest, which is last, is not."""
    listed = laptop.s3.list_objects_v2(Bucket=laptop.artifacts_bucket, Prefix=f"runs/{run_id}/seed-0/checkpoints/").get(
        "Contents", []
    )
    keys = [item["Key"] for item in listed]
    folders = {key.rpartition("/")[0] for key in keys}
    return any(f"{folder}/manifest.json" not in keys for folder in folders)


def asking(laptop: Laptop, run_id: str) -> bool:
    """It waits for approval."""
    return laptop.state_of(run_id) == Phase.AWAITING_APPROVAL


Moment = tuple[str, Callable[[Laptop, str], bool], str, float]
"""Its name, how it is seen, the run file, and the most seconds that pass before the command."""

MOMENTS: dict[str, Moment] = {
    "in the queue": ("in the queue", queued, LONG + "seeds: 3\ncompute: {spot: false}\n", 0.5),
    "starting": ("starting", begun, LONG, 0.3),
    "training": ("training", training, LONG, 4.0),
    "checkpointing": ("checkpointing", checkpointing, LONG, 0.0),
    "validating": ("validating", validating, LONG, 0.5),
    "waiting for approval": ("waiting for approval", asking, APPROVED, 0.5),
}
PAUSES = {
    "in the queue": 3,
    "starting": 3,
    "training": 6,
    "checkpointing": 3,
    "validating": 3,
    "waiting for approval": 2,
}


def main() -> str:
    """Everything; returns the tables."""
    generator = random.Random(0)  # noqa: S311 - moments to pause at
    with laptop_of_its_own() as laptop:
        calm = laptop.drop("calm", LONG)
        laptop.end_of(calm, seconds=PATIENCE)
        expected = weights(laptop, calm)
        pauses: list[dict[str, Any]] = []
        ends: list[dict[str, Any]] = []
        for name, times in PAUSES.items():
            for number in range(times):
                pauses.append(pause(laptop, MOMENTS[name], number, expected, generator))
                write("pauses", "python -m benchmarks pauses", {"pauses": pauses, "ends": ends})
        for moment in MOMENTS.values():
            for way in ("stop", "abort"):
                ends.append(end(laptop, moment, way, generator))
                write("pauses", "python -m benchmarks pauses", {"pauses": pauses, "ends": ends})
    return f"{_pauses_table(pauses)}\n\n{_ends_table(ends)}"


@contextmanager
def laptop_of_its_own() -> Iterator[Laptop]:
    """An embedded AWS with the stacks deployed to it."""
    with tempfile.TemporaryDirectory() as folder:
        state_dir = Path(folder)
        running = lifecycle.start(state_dir, free_port())
        os.environ.update(lifecycle.environment(running))
        try:
            lifecycle.deploy(running)
            yield Laptop(
                endpoint_url=running.endpoint_url,
                outputs=lifecycle.outputs(running),
                environment=lifecycle.environment(running),
                state_dir=state_dir,
            )
        finally:
            lifecycle.stop(state_dir)


def pause(laptop: Laptop, moment: Moment, number: int, expected: str, generator: random.Random) -> dict[str, Any]:
    """Pause a run at a moment and resume it; what it came to."""
    name, seen, file, most = moment
    run_id = reached(laptop, f"paused-{name.replace(' ', '-')}-{number}", file, seen)
    delay = generator.uniform(0, most)
    time.sleep(delay)  # the moment is meant to be anywhere
    before = laptop.record(run_id)["state"]
    began = time.monotonic()
    status, _ = laptop.command(run_id, "pause")
    laptop.reaches(run_id, Phase.PAUSED, seconds=PATIENCE)
    took = time.monotonic() - began
    left = len(processes_of(run_id))
    laptop.command(run_id, "resume")
    if file is APPROVED:
        laptop.reaches(run_id, Phase.AWAITING_APPROVAL, seconds=PATIENCE)
        laptop.command(run_id, "reject")
    laptop.end_of(run_id, seconds=PATIENCE)
    record = laptop.reaches(run_id, Outcome.REJECTED if file is APPROVED else Outcome.SUCCEEDED, seconds=PATIENCE)
    Replay().read(record)
    return {
        "moment": name,
        "state": before,
        "answer": status,
        "seconds": round(took, 2),
        "processes_left": left,
        "attempts": record["attempts"],
        "equal": weights(laptop, run_id) == expected,
    }


def reached(laptop: Laptop, experiment: str, file: str, seen: Callable[[Laptop, str], bool]) -> str:
    """A run that has come to a moment: a checkpoint is written so quickly that some runs are over before one is seen.

    Raises:
        AssertionError: none of `TRIES` runs was seen there.
    """
    for _ in range(TRIES):
        run_id = laptop.drop(experiment, file)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if seen(laptop, run_id):
                return run_id
            if laptop.record(run_id).get("state") in Outcome.__members__:
                break
            time.sleep(0.002)
    raise AssertionError(f"{experiment}: the moment was not seen in {TRIES} runs")


def end(laptop: Laptop, moment: Moment, way: str, generator: random.Random) -> dict[str, Any]:
    """Stop or abort a run at a moment; what is left of it."""
    name, seen, file, most = moment
    run_id = reached(laptop, f"{way}-{name.replace(' ', '-')}", file, seen)
    time.sleep(generator.uniform(0, most))
    kept = checkpoints(laptop, run_id)
    began = time.monotonic()
    if way == "stop":
        laptop.command(run_id, "stop")
    else:
        laptop.states.stop_execution(executionArn=laptop.execution_arn(run_id), cause="by hand")
    record = laptop.reaches(run_id, Outcome.STOPPED, seconds=PATIENCE)
    until(lambda: not processes_of(run_id), seconds=PATIENCE, what="no process is left")
    return {
        "moment": name,
        "way": way,
        "seconds": round(time.monotonic() - began, 2),
        "outcome": record["state"],
        "checkpoints_before": kept,
        "checkpoints_after": checkpoints(laptop, run_id),
    }


def checkpoints(laptop: Laptop, run_id: str) -> int:
    """How many complete checkpoints there are."""
    listed = laptop.s3.list_objects_v2(Bucket=laptop.artifacts_bucket, Prefix=f"runs/{run_id}/").get("Contents", [])
    return sum("/checkpoints/" in item["Key"] and item["Key"].endswith("/manifest.json") for item in listed)


def _pauses_table(pauses: list[dict[str, Any]]) -> str:
    rows = []
    for name in PAUSES:
        of = [one for one in pauses if one["moment"] == name]
        seconds = [one["seconds"] for one in of]
        equal = sum(one["equal"] for one in of)
        left = sum(one["processes_left"] for one in of)
        rows.append([name, str(len(of)), f"{equal} of {len(of)}", f"{median(seconds)}", f"{max(seconds)}", str(left)])
    header = ["paused while", "pauses", "equal weights", "seconds, median", "seconds, most", "processes left"]
    return table(header, rows)


def _ends_table(ends: list[dict[str, Any]]) -> str:
    rows = [
        [
            one["moment"],
            one["way"],
            one["outcome"],
            str(one["seconds"]),
            f"{one['checkpoints_before']} to {one['checkpoints_after']}",
        ]
        for one in ends
    ]
    return table(["ended while", "by", "outcome", "seconds until nothing runs", "checkpoints"], rows)
