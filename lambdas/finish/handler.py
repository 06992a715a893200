"""A run has ended: write down how, in its files and in its record, tell whoever listens, and end its execution.

The state machine calls this for every end it reaches itself, with the token of the step that waits for the answer.
For an execution that ended before that step (somebody aborted it, it timed out, a state could not be evaluated)
EventBridge calls it with the status change, so that no run vanishes.
"""

import contextlib
import json
import os
from datetime import UTC, datetime
from typing import Any, TypedDict

import boto3

from contract.control import Command, possible, state_of
from contract.events import decode
from contract.layout import RunLayout
from contract.outcomes import Outcome
from contract.record import KIND, MAX_REASON
from lambdas.items import from_item, to_item

_s3 = boto3.client("s3")
_sns = boto3.client("sns")
_batch = boto3.client("batch")
_logs = boto3.client("logs")
_dynamodb = boto3.client("dynamodb")
_states = boto3.client("stepfunctions")

LOG_LINES = 20
# https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
MAX_SUBJECT = 100
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html
MAX_CAUSE = 32_768


class Ending(TypedDict):
    """`outcome.json`."""

    run_id: str
    outcome: str
    reason: str
    ended_at: str
    log_tail: list[str]


def handler(event: dict[str, Any], _context: object) -> Ending | None:
    """Record the end of a run and publish it; None when there is nothing to record.

    `event` is EventBridge's "Step Functions Execution Status Change", or from the state machine
    `{"run_id", "outcome", "reason", "failed_jobs": [{"job_id", ...}], "redrives", "token"}`.
    """
    if "detail-type" in event:
        end = _of_status_change(event["detail"])
        record = _read(end["run_id"])
        return _end(end) if end["redrives"] > record.get("ended_attempt", -1) else None
    if _is_resumed(event):
        _answer(event["token"], goes_on=True)
        return None
    ending = _end(event)
    if ending["outcome"] == Outcome.SUCCEEDED:
        _answer(event["token"], goes_on=False)
    else:
        _fail(event["token"], ending)
    return ending


def _is_resumed(end: dict[str, Any]) -> bool:
    """Whether this is the end of before, and the execution was redriven to go on from there.

    Whoever resumes a run has written that wish; it is written here for somebody who redrives the execution itself.
    """
    record = _read(end["run_id"])
    redriven = end["redrives"] > record.get("ended_attempt", end["redrives"])
    if not redriven or Command.RESUME not in possible(state_of(record["state"]), None):
        return False
    if "wish" not in record:
        at = _now()
        change = {"at": at, "by": "console", "wish": str(Command.RESUME), "reason": "its execution was redriven"}
        values = {":wish": str(Command.RESUME), ":why": change["reason"], ":at": at, ":change": [change], ":one": 1}
        with contextlib.suppress(_dynamodb.exceptions.ConditionalCheckFailedException):  # it was wished in this moment
            _dynamodb.update_item(
                TableName=os.environ["RUN_TABLE"],
                Key=to_item({"run_id": end["run_id"]}),
                UpdateExpression="SET wish = :wish, wish_reason = :why, updated_at = :at, "
                "history = list_append(history, :change) ADD version :one",
                ConditionExpression="attribute_not_exists(wish)",
                ExpressionAttributeValues=to_item(values),
            )
    return True


def _end(end: dict[str, Any]) -> Ending:
    """Write down and tell how a run ended. Done twice, it is told twice, which is better than never."""
    outcome = Outcome(end["outcome"])
    log_tail = _log_tail([job["job_id"] for job in end["failed_jobs"] if job.get("job_id")])
    ending = Ending(
        run_id=end["run_id"],
        outcome=outcome,
        reason=_with_last_words(_without_trace(end["reason"]), log_tail),
        ended_at=_now(),
        log_tail=log_tail,
    )
    _s3.put_object(
        Bucket=os.environ["ARTIFACTS_BUCKET"],
        Key=RunLayout(run_id=ending["run_id"]).outcome,
        Body=json.dumps(ending, indent=1).encode(),
        ContentType="application/json",
    )
    _sns.publish(
        TopicArn=os.environ["TOPIC_ARN"],
        Subject=f"{outcome}: {ending['run_id']}"[:MAX_SUBJECT],
        Message=_message(ending, outcome),
        MessageAttributes={"outcome": {"DataType": "String", "StringValue": outcome}},
    )
    _end_record(ending, attempt=end["redrives"])
    return ending


def _answer(token: str, *, goes_on: bool) -> None:
    with contextlib.suppress(*_gone()):
        _states.send_task_success(taskToken=token, output=json.dumps({"goes_on": goes_on}))


def _fail(token: str, ending: Ending) -> None:
    """End the execution by the name of the outcome."""
    with contextlib.suppress(*_gone()):
        _states.send_task_failure(taskToken=token, error=ending["outcome"], cause=ending["reason"][:MAX_CAUSE])


def _gone() -> tuple[type[Exception], ...]:
    """The step waits no longer: this function was retried, or the execution was aborted."""
    return _states.exceptions.TaskDoesNotExist, _states.exceptions.TaskTimedOut


def _read(run_id: str) -> dict[str, Any]:
    """The run's record, or nothing of a run that has none."""
    answer = _dynamodb.get_item(TableName=os.environ["RUN_TABLE"], Key=to_item({"run_id": run_id}), ConsistentRead=True)
    return from_item(answer.get("Item", {}))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _end_record(ending: Ending, *, attempt: int) -> None:
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
        ":attempt": attempt,
        ":experiment": ending["run_id"].rpartition("-")[0],
    }
    with contextlib.suppress(_dynamodb.exceptions.ConditionalCheckFailedException):  # this function was retried
        _dynamodb.update_item(
            TableName=os.environ["RUN_TABLE"],
            Key=to_item({"run_id": ending["run_id"]}),
            UpdateExpression="SET #state = :outcome, reason = :reason, ended_at = :at, updated_at = :at, "
            "ended_attempt = :attempt, history = list_append(if_not_exists(history, :none), :change), kind = :kind, "
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
    error, cause = detail.get("error") or "", detail.get("cause") or ""
    outcome, reason = {
        "ABORTED": (Outcome.STOPPED, cause or "stopped"),
        "TIMED_OUT": (Outcome.FAILED, cause or "the execution reached its time limit"),
        "FAILED": (Outcome.FAILED, f"{error}: {cause}"),
    }[detail["status"]]
    return {
        "run_id": detail["name"],
        "outcome": outcome,
        "reason": reason,
        "failed_jobs": [],
        "redrives": detail.get("redriveCount") or 0,
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


def _without_trace(reason: str) -> str:
    """A function's exception in words: Step Functions gives it as a document, with its whole trace."""
    where, brace, rest = reason.partition("{")
    with contextlib.suppress(ValueError):
        document = json.loads(brace + rest)
        return f"{where}{document['errorMessage']}" if "errorMessage" in document else reason
    return reason


def _with_last_words(reason: str, log_tail: list[str]) -> str:
    """Batch knows only that the container exited; the container itself said why."""
    said = [event["reason"] for line in log_tail if (event := decode(line)) is not None and event["event"] == "ended"]
    return f"{reason} ({'; '.join(said)})" if said else reason


def _message(ending: Ending, outcome: Outcome) -> str:
    tail = "\n".join(ending["log_tail"])
    resumable = Command.RESUME in possible(outcome, None)
    return "\n".join(
        (
            f"{ending['run_id']} ended as {outcome}.",
            outcome.meaning,
            "",
            f"Reason: {ending['reason']}",
            *(("", "Last log lines:", tail) if tail else ()),
            "",
            f"More: rlpipe show {ending['run_id']}",
            *((f"Go on from the step that failed: rlpipe resume {ending['run_id']}",) if resumable else ()),
        )
    )
