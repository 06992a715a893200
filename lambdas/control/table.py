"""The run table, as the control function uses it."""

import base64
import contextlib
import json
import os
from typing import Any

import boto3

from contract.control import Command
from contract.record import KIND, NEWEST_FIRST
from lambdas.items import from_item, to_item
from lambdas.moments import now

_dynamodb = boto3.client("dynamodb")

FINISHED = ("SUCCEEDED", "FAILED")
_ORDER = ("RUNNABLE", "STARTING", "RUNNING", *FINISHED)
"""The states of a job that are noted, as they follow each other."""


def read(run_id: str) -> dict[str, Any] | None:
    """A run's record as plain values, with its task token; None when there is none."""
    answer = _dynamodb.get_item(TableName=os.environ["RUN_TABLE"], Key=to_item({"run_id": run_id}), ConsistentRead=True)
    return from_item(answer["Item"]) if "Item" in answer else None


def newest(limit: int, after: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """Records without history, newest first, and where to go on.

    Raises ValueError when `after` is not what a list before gave.
    """
    start: Any = {"ExclusiveStartKey": to_item(_decode(after))} if after else {}
    answer = _dynamodb.query(
        TableName=os.environ["RUN_TABLE"],
        IndexName=NEWEST_FIRST,
        KeyConditionExpression="kind = :kind",
        ExpressionAttributeValues=to_item({":kind": KIND}),
        ScanIndexForward=False,
        Limit=limit,
        **start,
    )
    last = answer.get("LastEvaluatedKey")
    return [from_item(item) for item in answer["Items"]], _encode(from_item(last)) if last else None


def write_wish(before: dict[str, Any], wish: Command, *, by: str, reason: str) -> dict[str, Any] | None:
    """Write a wish into a record that is still as it was when it was read; the record then, None if it is not."""
    had = before.get("wish")
    values = {
        ":wish": str(wish),
        ":why": reason,
        ":state": before["state"],
        ":had": had,
        ":at": now(),
        ":change": [{"at": now(), "by": by, "wish": str(wish), "reason": reason}],
        ":one": 1,
    }
    try:
        answer = _dynamodb.update_item(
            TableName=os.environ["RUN_TABLE"],
            Key=to_item({"run_id": before["run_id"]}),
            UpdateExpression="SET wish = :wish, wish_reason = :why, updated_at = :at, "
            "history = list_append(history, :change) ADD version :one",
            ConditionExpression="#state = :state AND " + ("wish = :had" if had else "attribute_not_exists(wish)"),
            ExpressionAttributeNames={"#state": "state"},
            ExpressionAttributeValues=to_item(values),
            ReturnValues="ALL_NEW",
        )
    except _dynamodb.exceptions.ConditionalCheckFailedException:
        return None
    return from_item(answer["Attributes"])


def take_back_wish(before: dict[str, Any], *, reason: str) -> None:
    """Remove a wish that cannot be carried out, if it is still there, and keep why."""
    at = now()
    values = {
        ":wish": before["wish"],
        ":at": at,
        ":change": [{"at": at, "by": "pipeline", "reason": reason}],
        ":one": 1,
    }
    with contextlib.suppress(_dynamodb.exceptions.ConditionalCheckFailedException):
        _dynamodb.update_item(
            TableName=os.environ["RUN_TABLE"],
            Key=to_item({"run_id": before["run_id"]}),
            UpdateExpression="SET updated_at = :at, history = list_append(history, :change) "
            "REMOVE wish, wish_reason ADD version :one",
            ConditionExpression="wish = :wish",
            ExpressionAttributeValues=to_item(values),
        )


def write_job(run_id: str, name: str, job: dict[str, Any]) -> dict[str, Any] | None:
    """Note what a job tells of itself; the record then. None when the record knows better, or there is none.

    Events may come late and in any order, and their times are whole seconds: an older one changes nothing, nor does
    the end of a job that has a successor.
    """
    status, before = str(job["status"]), "jobs.#name"
    earlier = _ORDER[: _ORDER.index(status)]
    same = f"{before}.job_id = :id"
    newer = f"{before}.since < :since OR ({before}.since = :since AND ({before}.job_id <> :id"
    newer += f" OR {before}.#status IN ({', '.join(f':{name}' for name in earlier)})))" if earlier else "))"
    known = f"{same} AND ({newer})" if status in FINISHED else newer
    values = {":job": job, ":since": job["since"], ":id": job["job_id"], **{f":{name}": name for name in earlier}}
    try:
        answer = _dynamodb.update_item(
            TableName=os.environ["RUN_TABLE"],
            Key=to_item({"run_id": run_id}),
            UpdateExpression="SET jobs.#name = :job",
            ConditionExpression=f"attribute_exists(run_id) AND (attribute_not_exists({before}) OR {known})",
            ExpressionAttributeNames={"#name": name, **({"#status": "status"} if earlier else {})},
            ExpressionAttributeValues=to_item(values),
            ReturnValues="ALL_NEW",
        )
    except _dynamodb.exceptions.ConditionalCheckFailedException:
        return None
    return from_item(answer["Attributes"])


def write_progress(run_id: str, name: str, progress: dict[str, Any]) -> None:
    """Note how far the training of a seed has come."""
    _dynamodb.update_item(
        TableName=os.environ["RUN_TABLE"],
        Key=to_item({"run_id": run_id}),
        UpdateExpression="SET progress.#name = :progress",
        ConditionExpression="attribute_exists(run_id)",
        ExpressionAttributeNames={"#name": name},
        ExpressionAttributeValues=to_item({":progress": progress}),
    )


def _encode(key: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps([key["run_id"], key["submitted_at"]]).encode()).decode().rstrip("=")


def _decode(after: str) -> dict[str, str]:
    run_id, submitted_at = json.loads(base64.urlsafe_b64decode(after + "=" * (-len(after) % 4)))
    return {"kind": KIND, "run_id": str(run_id), "submitted_at": str(submitted_at)}
