"""Every end is written down and told, with the reason and the last log lines."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from contract.outcomes import Outcome
from contract.record import MAX_REASON
from lambdas.finish import handler as finish
from lambdas.items import from_item

Stub = Callable[[Any], Stubber]
TOPIC = "arn:aws:sns:us-east-1:000000000000:topic"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")
    monkeypatch.setenv("TOPIC_ARN", TOPIC)
    monkeypatch.setenv("RUN_TABLE", "runs")


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The updates of the run table."""
    updates: list[dict[str, Any]] = []
    monkeypatch.setattr(finish._dynamodb, "update_item", lambda **update: updates.append(update))
    return updates


@pytest.fixture
def told(stub: Stub, recorded: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was published; the outcome file is checked for agreement by `ended`."""
    published: list[dict[str, Any]] = []
    stub(finish._s3).add_response(
        "put_object",
        {},
        {
            "Bucket": "artifacts",
            "Key": "runs/cartpole-01/outcome.json",
            "Body": ANY,
            "ContentType": "application/json",
        },
    )
    monkeypatch.setattr(finish._sns, "publish", lambda **message: published.append(message))
    return published


def end(outcome: Outcome, reason: str = "because", failed_jobs: list[dict[str, str]] | None = None) -> dict[str, Any]:
    return {"run_id": "cartpole-01", "outcome": outcome, "reason": reason, "failed_jobs": failed_jobs or []}


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_recorded_and_told(outcome: Outcome, told: list[dict[str, Any]]) -> None:
    ending = finish.handler(end(outcome), None)
    assert ending["outcome"] == outcome
    assert told[0]["TopicArn"] == TOPIC
    assert told[0]["Subject"] == f"{outcome}: cartpole-01"
    assert outcome.meaning in told[0]["Message"]
    assert "because" in told[0]["Message"]


def test_a_failed_job_is_told_with_its_last_lines_and_its_own_reason(stub: Stub, told: list[dict[str, Any]]) -> None:
    said = json.dumps({"event": "ended", "exit_code": 1, "reason": "the loss is NaN"}, separators=(",", ":"))
    stub(finish._batch).add_response(
        "describe_jobs",
        {
            "jobs": [
                {
                    "jobName": "n",
                    "jobId": "j1",
                    "jobQueue": "q",
                    "status": "FAILED",
                    "startedAt": 0,
                    "jobDefinition": "d",
                    "container": {
                        "logStreamName": "train/default/j1",
                        "logConfiguration": {"logDriver": "awslogs", "options": {"awslogs-group": "/train"}},
                    },
                }
            ]
        },
        {"jobs": ["j1"]},
    )
    stub(finish._logs).add_response(
        "get_log_events",
        {"events": [{"message": "Traceback"}, {"message": said}]},
        {"logGroupName": "/train", "logStreamName": "train/default/j1", "limit": 20, "startFromHead": False},
    )
    ending = finish.handler(end(Outcome.FAILED, "seed 0: exited", [{"job_id": "j1"}]), None)
    assert ending["reason"] == "seed 0: exited (the loss is NaN)"
    assert "Traceback" in told[0]["Message"]


@pytest.mark.parametrize(("status", "outcome"), [("ABORTED", Outcome.STOPPED), ("TIMED_OUT", Outcome.FAILED)])
def test_an_execution_ended_from_outside_is_recorded_too(
    status: str, outcome: Outcome, told: list[dict[str, Any]]
) -> None:
    event = {
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"name": "cartpole-01", "status": status, "cause": None},
    }
    assert finish.handler(event, None)["outcome"] == outcome
    assert told


def test_the_record_has_the_outcome_and_no_wish_any_more(
    told: list[dict[str, Any]], recorded: list[dict[str, Any]]
) -> None:
    finish.handler(end(Outcome.LIMIT, "x" * 1000), None)
    [update] = recorded
    assert from_item(update["Key"]) == {"run_id": "cartpole-01"}
    values = from_item(update["ExpressionAttributeValues"])
    assert (values[":outcome"], values[":reason"], values[":experiment"]) == ("LIMIT", "x" * MAX_REASON, "cartpole")
    assert "REMOVE wish, wish_reason, #token" in update["UpdateExpression"]
    assert update["ConditionExpression"] == "attribute_not_exists(ended_at)"


def test_an_end_that_is_recorded_already_is_told_all_the_same(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The function was retried: whether the message went out the first time, nobody knows."""
    stub(finish._s3).add_response("put_object", {})
    stub(finish._dynamodb).add_client_error("update_item", "ConditionalCheckFailedException")
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(finish._sns, "publish", lambda **message: published.append(message))
    finish.handler(end(Outcome.SUCCEEDED), None)
    assert len(published) == 1
