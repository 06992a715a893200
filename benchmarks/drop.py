"""The way of a run on the laptop: how long after its file is dropped training begins, and an endpoint answers.

Read from the times that the services say themselves: of the run's log, its job and its execution.
"""

import json
import time
from statistics import median
from typing import Any

from benchmarks.pauses import PATIENCE, laptop_of_its_own
from benchmarks.results import table, write
from contract.outcomes import Outcome
from tests.pipeline.laptop import QUICK, Laptop

DROPS = 15

Moments = dict[str, float]
"""Seconds since the drop."""


def main() -> str:
    """Drop one file after another; returns the table."""
    drops: list[Moments] = []
    with laptop_of_its_own() as laptop:
        _one(laptop, "first")  # what is read by everything that comes later
        for number in range(DROPS):
            drops.append(_one(laptop, f"drop-{number}"))
            write("drop", "python -m benchmarks drop", {"drops": drops})
    rows = []
    for name in drops[0]:
        seconds = sorted(drop[name] for drop in drops if name in drop)
        rows.append([name, f"{median(seconds):.2f}", f"{seconds[0]:.2f}", f"{seconds[-1]:.2f}"])
    return table(["seconds after the drop", "median", "least", "most"], rows)


def _one(laptop: Laptop, experiment: str) -> Moments:
    dropped = time.time()
    run_id = laptop.drop(experiment, QUICK)
    laptop.reaches(run_id, Outcome.SUCCEEDED, seconds=PATIENCE)
    execution = laptop.end_of(run_id)
    moments = {"the execution starts": execution["startDate"].timestamp() - dropped}
    (job,) = [job for job in laptop.jobs_of(run_id) if job["jobName"].endswith("-seed-0")]
    moments["the training's job is submitted"] = job["createdAt"] / 1000 - dropped
    (detail,) = laptop.batch.describe_jobs(jobs=[job["jobId"]])["jobs"]
    moments["its container starts"] = detail["startedAt"] / 1000 - dropped
    moments["the first training step"] = _said(laptop, detail["container"], "started") - dropped
    moments["training has ended"] = detail["stoppedAt"] / 1000 - dropped
    moments["the run has ended"] = execution["stopDate"].timestamp() - dropped
    return {name: round(seconds, 3) for name, seconds in moments.items()}


def _said(laptop: Laptop, container: dict[str, Any], event: str) -> float:
    """When a job's log said that something had happened."""
    group = container["logConfiguration"]["options"]["awslogs-group"]
    logs = laptop.client("logs")
    lines = logs.get_log_events(logGroupName=group, logStreamName=container["logStreamName"], startFromHead=True)
    for line in lines["events"]:
        if line["message"].startswith("{") and json.loads(line["message"]).get("event") == event:
            return float(line["timestamp"]) / 1000
    raise LookupError(f"the log never says {event}")
