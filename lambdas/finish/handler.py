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

from contract import metrics
from contract.control import Command, possible, state_of
from contract.events import decode, encode
from contract.layout import RunLayout, experiment_of_run
from contract.outcomes import Outcome
from contract.record import KIND, MAX_REASON
from lambdas.items import from_item, to_item
from lambdas.messages import Message, publication

_s3 = boto3.client("s3")
_sns = boto3.client("sns")
_batch = boto3.client("batch")
_logs = boto3.client("logs")
_dynamodb = boto3.client("dynamodb")
_states = boto3.client("stepfunctions")

LOG_LINES = 20
# https://docs.aws.amazon.com/step-functions/latest/apireference/API_SendTaskFailure.html
MAX_CAUSE = 32_768

_SYMBOLS = {Outcome.SUCCEEDED: "✅", Outcome.STOPPED: "⏹️", Outcome.LIMIT: "⌛", Outcome.REJECTED: "🚫"}
_FAILURE = "❌"
_HAS_REPORT = (Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.ROLLED_BACK)
"""Outcomes that come after validation, which writes the report."""


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
    _sns.publish(TopicArn=os.environ["TOPIC_ARN"], **publication(_message(ending, outcome, end["failed_jobs"])))
    _count(outcome)
    _end_record(ending, attempt=end["redrives"])
    return ending


def _count(outcome: Outcome) -> None:
    """One more run that ended so, by the function's log."""
    dimensions = {metrics.STAGE: os.environ["RLPIPE_STAGE"], metrics.OUTCOME: str(outcome)}
    print(encode(metrics.measured({metrics.RUNS_ENDED: 1}, dimensions)))  # noqa: T201


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
        ":experiment": experiment_of_run(ending["run_id"]),
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
        # Whoever aborts may say that it is no stop; the sweeper does.
        "ABORTED": (Outcome.FAILED if error == Outcome.FAILED else Outcome.STOPPED, cause or "stopped"),
        "TIMED_OUT": (Outcome.FAILED, cause or "the execution reached its time limit"),
        "FAILED": (Outcome.FAILED, f"{error}: {cause}" if error else cause),
        "SUCCEEDED": (Outcome.SUCCEEDED, "its execution succeeded"),
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
    if not said:
        return reason
    return f"{reason} ({'; '.join(said)})" if reason else "; ".join(said)


def _message(ending: Ending, outcome: Outcome, failed_jobs: list[dict[str, Any]]) -> Message:
    run_id, tail = ending["run_id"], "\n".join(ending["log_tail"])
    others = [f"- {job['reason']}" for job in failed_jobs if job.get("reason") and outcome == Outcome.SUCCEEDED]
    steps = [f"`rlpipe show {run_id}`"]
    if outcome in _HAS_REPORT:
        steps = [f"The report: {_link(RunLayout(run_id=run_id).report)}", f"`rlpipe report {run_id} --open`", *steps]
    elif ending["log_tail"]:
        steps.append(f"`rlpipe logs {run_id}`")
    if Command.RESUME in possible(outcome, None):
        steps.append(f"Go on from the step that failed: `rlpipe resume {run_id}`")
    return Message(
        kind=outcome,
        about=run_id,
        symbol=_SYMBOLS.get(outcome, _FAILURE),
        paragraphs=(
            f"{run_id} ended as {outcome}. {outcome.meaning}",
            f"Reason: {ending['reason']}",
            *(["\n".join(["These seeds failed:", *others])] if others else []),
        ),
        steps=tuple(steps),
        details=(f"Last log lines:\n{tail}",) if tail else (),
        keywords=(os.environ["RLPIPE_STAGE"], experiment_of_run(run_id)),
    )


def _link(key: str) -> str:
    """Where a browser finds a file of the artifacts bucket: whoever may read it in the console may open it.

    A presigned address would end with this function's credentials, within hours, and be open to everybody until then.
    """
    bucket = os.environ["ARTIFACTS_BUCKET"]
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        return f"{endpoint}/{bucket}/{key}"
    region = _s3.meta.region_name
    return f"https://{region}.console.aws.amazon.com/s3/object/{bucket}?region={region}&prefix={key}"
