"""Something is wrong, or may soon be: say what, about which run, and what to do.

Alarms call it themselves; EventBridge brings what Batch says of its queues and jobs.
"""

import os
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3

from contract import metrics
from contract.alarms import CAUSES_OF_A_BLOCKED_QUEUE, UNKNOWN_CAUSE, Alarm, alarm_of
from contract.events import encode
from contract.layout import experiment_of_run
from contract.metrics import Metric
from contract.outcomes import ExitCode
from contract.record import MAX_REASON
from lambdas.items import from_item, to_item
from lambdas.messages import Message, publication

_sns = boto3.client("sns")
_dynamodb = boto3.client("dynamodb")

QUIET = timedelta(hours=6)
"""An alarm that goes off and on tells of the same run this often at most."""

_PLACES = {"QueueName": "queue", "EndpointName": "endpoint"}
"""What dimensions are called in commands."""

_QUEUE_BLOCKED = "Batch Job Queue Blocked"
_JOB_CHANGED = "Batch Job State Change"


def handler(event: dict[str, Any], _context: object) -> None:
    """Tell of an alarm, of a blocked queue or of a failed job.

    `event` is what a CloudWatch alarm sends to a function, or an event of AWS Batch.
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html
    """
    if event.get("detail-type") == _QUEUE_BLOCKED:
        _queue_blocked(event["detail"])
    elif event.get("detail-type") == _JOB_CHANGED:
        _job_failed(event["detail"])
    else:
        _alarm(event["alarmData"])


def _alarm(data: dict[str, Any]) -> None:
    alarm, contributor = alarm_of(data["alarmName"]), data.get("alarmContributor")
    watches_runs = any("GROUP BY" in metric.get("expression", "") for metric in data["configuration"]["metrics"])
    if not _rings(alarm, data) or (watches_runs and contributor is None):
        return  # of an alarm that watches each run, each run's own change is sent too
    reason = data["state"]["reason"]
    if alarm is None:
        _tell(_of_description(data["alarmName"], data["configuration"].get("description", ""), reason))
    elif contributor is None:
        values = _dimensions(data)
        _tell(_message(alarm, about=values.get("endpoint", _stage()), reason=reason, values=values))
    elif _note(run_id := contributor["attributes"][metrics.RUN], alarm, reason):
        _tell(_message(alarm, about=run_id, reason=reason, values={"run": run_id}))


def _rings(alarm: Alarm | None, data: dict[str, Any]) -> bool:
    if alarm is not None and alarm.without_data and data["state"]["value"] == "INSUFFICIENT_DATA":
        return bool(data.get("previousState", {}).get("value") != "ALARM")
    return bool(data["state"]["value"] == "ALARM")


def _queue_blocked(detail: dict[str, Any]) -> None:
    """The status reason begins with a code."""
    _count(metrics.QUEUES_BLOCKED)
    run_id, said = _run_of(detail), detail.get("statusReason") or "no reason was given"
    cause, advice = next(
        (words for code, words in CAUSES_OF_A_BLOCKED_QUEUE.items() if said.startswith(code)), UNKNOWN_CAUSE
    )
    _tell(
        Message(
            kind="QueueBlocked",
            about=run_id,
            symbol="⏳",
            paragraphs=(
                f"{detail['jobName']} cannot start, and holds back the queue {_last(detail['jobQueue'])}.",
                cause,
                f"AWS Batch says: {said}",
            ),
            steps=(advice, f"`rlpipe doctor` and `rlpipe stop {run_id}`"),
            keywords=(_stage(), experiment_of_run(run_id)),
        )
    )


def _job_failed(detail: dict[str, Any]) -> None:
    """What was paused, stopped or ended by a limit failed for Batch, but not for us."""
    run_id, said = _run_of(detail), str(detail.get("statusReason", ""))
    code = (detail.get("container") or {}).get("exitCode")
    never_started = any(cause in said for cause in CAUSES_OF_A_BLOCKED_QUEUE)
    ended_by_somebody = (detail.get("isTerminated") or detail.get("isCancelled")) and not never_started
    if ended_by_somebody or code in (ExitCode.LIMIT, ExitCode.CHECKPOINTED):
        return
    _count(metrics.JOBS_FAILED)
    name = str(detail["jobName"]).removeprefix(f"{run_id}-")
    others = [f"seed-{seed}" for seed in _record(run_id).get("seeds", []) if f"seed-{seed}" != name]
    if not others or not name.startswith("seed-"):
        return  # the run ends with it, and its own message says why
    _tell(
        Message(
            kind="JobFailed",
            about=run_id,
            symbol="⚠️",
            paragraphs=(
                f"{name} of {run_id} failed: {said}" + (f" (exit code {code})." if code is not None else "."),
                f"The run goes on with {', '.join(others)}: one trained seed is enough for validation.",
            ),
            steps=(f"`rlpipe logs {run_id}`", f"`rlpipe stop {run_id}`, if the others are not worth it"),
            keywords=(_stage(), experiment_of_run(run_id)),
        )
    )


def _message(alarm: Alarm, *, about: str, reason: str, values: dict[str, str]) -> Message:
    return Message(
        kind=alarm.name,
        about=about,
        symbol="⚠️",
        paragraphs=(f"{about}: {alarm.title}.", f"{alarm.meaning} {alarm.why}", f"CloudWatch says: {reason}"),
        steps=(alarm.advice, *(f"`{command}`" for command in alarm.commands_for(values))),
        keywords=(_stage(), *([experiment_of_run(values["run"])] if "run" in values else [])),
    )


def _of_description(name: str, description: str, reason: str) -> Message:
    """An alarm of somebody else: its description says what to do."""
    paragraphs = tuple(text for text in (description, f"CloudWatch says: {reason}") if text)
    return Message(kind="ALARM", about=name, symbol="⚠️", paragraphs=paragraphs, keywords=(_stage(),))


def _dimensions(data: dict[str, Any]) -> dict[str, str]:
    """What an alarm's only metric is of, for its commands."""
    found: dict[str, str] = {}
    for metric in data["configuration"]["metrics"]:
        found |= metric.get("metricStat", {}).get("metric", {}).get("dimensions", {})
    return {ours: found[theirs] for theirs, ours in _PLACES.items() if theirs in found}


def _note(run_id: str, alarm: Alarm, reason: str) -> bool:
    """Enter an alarm into the run's record; False when it has told of this run not long ago."""
    now = datetime.now(UTC)
    change = {"at": _iso(now), "by": "alarm", "reason": f"{alarm.name}: {reason}"[:MAX_REASON]}
    try:
        _dynamodb.update_item(
            TableName=os.environ["RUN_TABLE"],
            Key=to_item({"run_id": run_id}),
            UpdateExpression="SET #alarm = :now, history = list_append(history, :change) ADD version :one",
            ConditionExpression="attribute_exists(run_id) AND (attribute_not_exists(#alarm) OR #alarm < :before)",
            ExpressionAttributeNames={"#alarm": f"alarm_{alarm.name}"},
            ExpressionAttributeValues=to_item(
                {":now": _iso(now), ":before": _iso(now - QUIET), ":change": [change], ":one": 1}
            ),
        )
    except _dynamodb.exceptions.ConditionalCheckFailedException:
        return False
    return True


def _record(run_id: str) -> dict[str, Any]:
    answer = _dynamodb.get_item(TableName=os.environ["RUN_TABLE"], Key=to_item({"run_id": run_id}))
    return from_item(answer["Item"]) if "Item" in answer else {}


def _count(metric: Metric) -> None:
    """One more of what the alarm of this name watches, by the function's log."""
    print(encode(metrics.measured({metric: 1}, {metrics.STAGE: _stage()})))  # noqa: T201


def _tell(message: Message) -> None:
    _sns.publish(TopicArn=os.environ["TOPIC_ARN"], **publication(message))


def _run_of(detail: dict[str, Any]) -> str:
    return _last(str(detail["parameters"]["run"]))


def _stage() -> str:
    return os.environ["RLPIPE_STAGE"]


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _iso(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
