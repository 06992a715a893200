"""The Batch jobs of a run: what they tell of themselves, how far they are, and ending them."""

import json
import os
from typing import Any

import boto3

from contract.control import Command
from contract.events import decode
from contract.layout import TRAINING_SUMMARY, RunLayout
from contract.record import SeedProgress
from lambdas.control import table

_batch = boto3.client("batch")
_logs = boto3.client("logs")
_s3 = boto3.client("s3")

_LINES = 50
"""Lines at the end of a log among which the newest progress is looked for."""


def note(event: dict[str, Any]) -> bool:
    """Take note of a "Batch Job State Change", and end the job if the run is to be paused or stopped.

    https://docs.aws.amazon.com/batch/latest/userguide/batch_job_events.html
    """
    detail = event["detail"]
    run_id = str(detail["parameters"]["run"]).rpartition("/")[2]
    name = str(detail["jobName"]).removeprefix(f"{run_id}-")
    job = {
        "job_id": detail["jobId"],
        "status": detail["status"],
        "since": event["time"],
        "started_at": detail.get("startedAt"),
        "log_stream": (detail.get("container") or {}).get("logStreamName"),
    }
    record = table.write_job(run_id, name, job)
    if record is None:
        return False
    if record.get("wish") in (Command.PAUSE, Command.STOP):
        terminate(record)
    if detail["status"] in table.FINISHED and name.startswith("seed-"):
        _note_progress(run_id, name)
    return True


def terminate(record: dict[str, Any]) -> None:
    """End every job of the run that has not ended. A job that runs gets SIGTERM, and 30 s to write a checkpoint."""
    for job in record["jobs"].values():
        if job["status"] not in table.FINISHED:
            _batch.terminate_job(jobId=job["job_id"], reason=record["wish_reason"])


def live_progress(record: dict[str, Any]) -> dict[str, SeedProgress]:
    """By seed folder, how far the jobs that run now are, as their logs say."""
    found: dict[str, SeedProgress] = {}
    for name, job in record["jobs"].items():
        if name.startswith("seed-") and job["status"] == "RUNNING" and job.get("log_stream"):
            before = SeedProgress.model_validate(record["progress"].get(name, {"attempts": 0}))
            told = _newest_progress(job["log_stream"])
            found[name] = before.model_copy(update={**told, "attempts": before.attempts + 1})
    return found


def _newest_progress(stream: str) -> dict[str, Any]:
    try:
        events = _logs.get_log_events(
            logGroupName=os.environ["JOB_LOG_GROUP"], logStreamName=stream, limit=_LINES, startFromHead=False
        )["events"]
    except _logs.exceptions.ResourceNotFoundException:
        return {}  # it has not written yet
    for line in reversed(events):
        event = decode(line["message"])
        if event is not None and event["event"] == "progress":
            return {"timesteps": event["timesteps"], "mean_return": event.get("mean_return")}
        if event is not None and event["event"] in ("started", "checkpoint"):
            return {"timesteps": event["timesteps"]}
    return {}


def _note_progress(run_id: str, name: str) -> None:
    """What training.json says, of all attempts together; a job that never started wrote none."""
    key = f"{RunLayout(run_id=run_id).prefix}/{name}/{TRAINING_SUMMARY}"
    try:
        body = _s3.get_object(Bucket=os.environ["ARTIFACTS_BUCKET"], Key=key)["Body"].read()
    except _s3.exceptions.NoSuchKey:
        return
    summary = json.loads(body)
    table.write_progress(
        run_id,
        name,
        {
            "timesteps": summary["timesteps"],
            "mean_return": summary["mean_return"],
            "seconds": summary["wall_seconds"],
            "attempts": summary["attempts"],
        },
    )
