"""A run has ended: write down how, in its files and in its record, and tell whoever listens.

The state machine calls this for every end it reaches itself. For an execution that somebody aborted, or that
timed out, EventBridge calls it with the status change, so that no run vanishes.
"""

import contextlib
import json
import os
from datetime import UTC, datetime
from typing import Any, TypedDict

import boto3

from contract.events import decode
from contract.layout import RunLayout
from contract.outcomes import Outcome
from contract.record import KIND, MAX_REASON
from lambdas.items import to_item

_s3 = boto3.client("s3")
_sns = boto3.client("sns")
_batch = boto3.client("batch")
_logs = boto3.client("logs")
_dynamodb = boto3.client("dynamodb")

LOG_LINES = 20
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
MAX_SUBJECT = 100


class Ending(TypedDict):
    """`outcome.json`."""

    run_id: str
    outcome: str
    reason: str
    ended_at: str
    log_tail: list[str]


def handler(event: dict[str, Any], _context: object) -> Ending:
    """Record the end of a run and publish it.

    `event` is `{"run_id", "outcome", "reason", "failed_jobs": [{"job_id", ...}]}` from the state machine, or
    EventBridge's "Step Functions Execution Status Change".
    """
    end = _of_status_change(event["detail"]) if "detail-type" in event else event
    outcome = Outcome(end["outcome"])
    log_tail = _log_tail([job["job_id"] for job in end["failed_jobs"] if job.get("job_id")])
    ending = Ending(
        run_id=end["run_id"],
        outcome=outcome,
        reason=_with_last_words(end["reason"], log_tail),
        ended_at=datetime.now(UTC).isoformat(timespec="seconds"),
        log_tail=log_tail,
    )
    _s3.put_object(
        Bucket=os.environ["ARTIFACTS_BUCKET"],
        Key=RunLayout(run_id=ending["run_id"]).outcome,
        Body=json.dumps(ending, indent=1).encode(),
        ContentType="application/json",
    )
    _end_record(ending)
    _sns.publish(
        TopicArn=os.environ["TOPIC_ARN"],
        Subject=f"{outcome}: {ending['run_id']}"[:MAX_SUBJECT],
        Message=_message(ending, outcome),
        MessageAttributes={"outcome": {"DataType": "String", "StringValue": outcome}},
    )
    return ending


def _end_record(ending: Ending) -> None:
    """Enter the outcome into the run table, once. A refused file has no record before this one."""
    at, reason = ending["ended_at"], ending["reason"][:MAX_REASON]
    change = {"at": at, "by": "pipeline", "state": str(ending["outcome"]), "reason": reason}
    values = {
        ":outcome": str(ending["outcome"]),
        ":reason": reason,
        ":at": at,
        ":change": [change],
        ":none": [],
        ":one": 1,
        ":kind": KIND,
        ":experiment": ending["run_id"].rpartition("-")[0],
    }
    with contextlib.suppress(_dynamodb.exceptions.ConditionalCheckFailedException):  # this function was retried
        _dynamodb.update_item(
            TableName=os.environ["RUN_TABLE"],
            Key=to_item({"run_id": ending["run_id"]}),
            UpdateExpression="SET #state = :outcome, reason = :reason, ended_at = :at, updated_at = :at, "
            "history = list_append(if_not_exists(history, :none), :change), kind = :kind, "
            "experiment = if_not_exists(experiment, :experiment), "
            "submitted_at = if_not_exists(submitted_at, :at) REMOVE wish, wish_reason, #token ADD version :one",
            ConditionExpression="attribute_not_exists(ended_at)",
            ExpressionAttributeNames={"#state": "state", "#token": "token"},
            ExpressionAttributeValues=to_item(values),
        )


def _of_status_change(detail: dict[str, Any]) -> dict[str, Any]:
    """The end that a status change of Step Functions means.

    https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    stopped = detail["status"] == "ABORTED"
    cause = detail.get("cause") or ("stopped" if stopped else "the execution reached its time limit")
    return {
        "run_id": detail["name"],
        "outcome": Outcome.STOPPED if stopped else Outcome.FAILED,
        "reason": cause,
        "failed_jobs": [],
    }


def _log_tail(job_ids: list[str]) -> list[str]:
    """The last lines that the failed jobs wrote; of each at most `LOG_LINES`."""
    if not job_ids:
        return []
    lines: list[str] = []
    for job in _batch.describe_jobs(jobs=job_ids)["jobs"]:
        container = job.get("container", {})
        stream = container.get("logStreamName")
        group = container.get("logConfiguration", {}).get("options", {}).get("awslogs-group")
        if not stream or not group:
            continue
        try:
            events = _logs.get_log_events(
                logGroupName=group, logStreamName=stream, limit=LOG_LINES, startFromHead=False
            )["events"]
        except _logs.exceptions.ResourceNotFoundException:
            continue  # the container never started, so it never wrote
        lines += [event["message"] for event in events if not _is_metrics(event["message"])]
    return lines


def _is_metrics(line: str) -> bool:
    event = decode(line)
    return event is not None and event["event"] == "metrics"


def _with_last_words(reason: str, log_tail: list[str]) -> str:
    """Batch knows only that the container exited; the container itself said why."""
    said = [event["reason"] for line in log_tail if (event := decode(line)) is not None and event["event"] == "ended"]
    return f"{reason} ({'; '.join(said)})" if said else reason


def _message(ending: Ending, outcome: Outcome) -> str:
    tail = "\n".join(ending["log_tail"])
    return "\n".join(
        (
            f"{ending['run_id']} ended as {outcome}.",
            outcome.meaning,
            "",
            f"Reason: {ending['reason']}",
            *(("", "Last log lines:", tail) if tail else ()),
            "",
            f"More: rlpipe show {ending['run_id']}",
        )
    )
