"""Runs as the API shows them, and starting one."""

import base64
import os
import re
import time
from typing import Any

import boto3

from contract.api import EXPERIMENT_PATTERN, MAX_LISTED, RUN_ID_PATTERN, RunList, Submitted
from contract.layout import RUN_FILE, experiment_of, run_id_of
from contract.record import RunRecord, read_record
from contract.run import RunFileError, RunSpecification
from lambdas.control import jobs, table
from lambdas.control.answers import Answer, ApiError

_s3 = boto3.client("s3")


def submit(experiment: str, event: dict[str, Any]) -> Answer:
    """Check a run file and drop it into the input bucket."""
    if not re.fullmatch(EXPERIMENT_PATTERN, experiment):
        raise ApiError(400, "invalid", f"experiment: text that matches {EXPERIMENT_PATTERN} (given: {experiment!r})")
    text = event.get("body") or ""
    content = base64.b64decode(text) if event.get("isBase64Encoded") else text.encode()
    try:
        RunSpecification.parse(content)
    except RunFileError as error:
        problems = [str(problem) for problem in error.problems]
        raise ApiError(400, "invalid", "the run file was refused; nothing was started", problems) from None
    bucket, key = os.environ["INPUT_BUCKET"], f"{experiment}/{RUN_FILE}"
    version_id = _s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/yaml")["VersionId"]
    submitted = Submitted(
        run_id=run_id_of(bucket, key, version_id),
        experiment=experiment_of(key),
        bucket=bucket,
        key=key,
        version_id=version_id,
    )
    return Answer(202, submitted)


def read(run_id: str) -> Answer:
    """One run."""
    return Answer(200, shown(existing(run_id)))


def list_newest(query: dict[str, str]) -> Answer:
    """The newest runs."""
    try:
        limit = int(query.get("limit", "20"))
    except ValueError:
        limit = 0
    if not 1 <= limit <= MAX_LISTED:
        raise ApiError(400, "invalid", f"limit: 1 to {MAX_LISTED} (given: {query['limit']!r})")
    try:
        items, following = table.newest(limit, query.get("next"))
    except ValueError:
        raise ApiError(400, "invalid", f"next: what the list before gave (given: {query['next']!r})") from None
    return Answer(200, RunList(runs=[shown(item) for item in items], next=following))


def existing(run_id: str) -> dict[str, Any]:
    """A run's item. Raises ApiError when there is none."""
    item = table.read(run_id) if re.fullmatch(RUN_ID_PATTERN, run_id) else None
    if item is None:
        raise ApiError(404, "unknown", f"there is no run {run_id}; one that was just dropped is there within seconds")
    return item


def shown(item: dict[str, Any]) -> RunRecord:
    """An item as the API shows it, with the progress of jobs that run now."""
    item = {"jobs": {}, "progress": {}, **item}
    return read_record(item, now_ms=int(time.time() * 1000), live=jobs.live_progress(item))
