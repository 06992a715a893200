"""Every end is written down and told, with the reason and the last log lines."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from contract.outcomes import Outcome
from contract.record import MAX_REASON
from lambdas.finish import handler as finish
from lambdas.items import from_item, to_item

Stub = Callable[[Any], Stubber]
TOPIC = "arn:aws:sns:us-east-1:000000000000:topic"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")
    monkeypatch.setenv("TOPIC_ARN", TOPIC)
    monkeypatch.setenv("RUN_TABLE", "runs")
    monkeypatch.setenv("RLPIPE_STAGE", "dev")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the waiting step was told."""
    given: list[dict[str, Any]] = []
    monkeypatch.setattr(finish._states, "send_task_success", lambda **answer: given.append(answer))
    monkeypatch.setattr(finish._states, "send_task_failure", lambda **answer: given.append(answer))
    return given


@pytest.fixture
def record(monkeypatch: pytest.MonkeyPatch, answers: list[dict[str, Any]]) -> dict[str, Any]:
    """The run's record, as it is read."""
    attributes: dict[str, Any] = {}
    monkeypatch.setattr(finish._dynamodb, "get_item", lambda **_: {"Item": to_item(attributes)} if attributes else {})
    return attributes


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch, record: dict[str, Any]) -> list[dict[str, Any]]:
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
    end = {"run_id": "cartpole-01", "outcome": outcome, "reason": reason, "failed_jobs": failed_jobs or []}
    return {**end, "redrives": 0, "token": "T"}


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_recorded_and_told_and_ends_the_execution(
    outcome: Outcome,
    told: list[dict[str, Any]],
    answers: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    ending = finish.handler(end(outcome), None)
    assert ending is not None
    assert ending["outcome"] == outcome
    if outcome is Outcome.SUCCEEDED:
        assert answers == [{"taskToken": "T", "output": '{"goes_on": false}'}]
    else:
        assert answers == [{"taskToken": "T", "error": outcome, "cause": "because"}]
    [message] = told
    assert message["TopicArn"] == TOPIC
    assert message["Subject"] == f"{outcome}: cartpole-01"
    for part in (outcome.meaning, "because", "rlpipe show cartpole-01"):
        assert part in text(message)
    assert ("rlpipe resume" in text(message)) is (outcome in (Outcome.FAILED, Outcome.ROLLED_BACK))
    [datum] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (datum["RunsEnded"], datum["Stage"], datum["Outcome"]) == (1, "dev", outcome)


def text(message: dict[str, Any]) -> str:
    """What mail and programs get."""
    assert message["MessageStructure"] == "json"
    words: str = json.loads(message["Message"])["default"]
    return words


@pytest.mark.parametrize("outcome", Outcome)
def test_outcomes_after_validation_link_to_the_report(outcome: Outcome, told: list[dict[str, Any]]) -> None:
    finish.handler(end(outcome), None)
    link = (
        "https://us-east-1.console.aws.amazon.com/s3/object/artifacts"
        "?region=us-east-1&prefix=runs/cartpole-01/validation/report.html"
    )
    has_report = outcome in (Outcome.SUCCEEDED, Outcome.REJECTED, Outcome.ROLLED_BACK)
    assert (link in text(told[0])) == has_report
    assert ("rlpipe report cartpole-01 --open" in text(told[0])) == has_report


def test_on_a_laptop_the_link_is_one_of_this_machine(
    told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    finish.handler(end(Outcome.SUCCEEDED), None)
    assert "http://127.0.0.1:4566/artifacts/runs/cartpole-01/validation/report.html" in text(told[0])


def test_chat_applications_get_their_own_schema(told: list[dict[str, Any]]) -> None:
    """https://docs.aws.amazon.com/chatbot/latest/adminguide/custom-notifs.html"""
    finish.handler(end(Outcome.REJECTED), None)
    document = json.loads(json.loads(told[0]["Message"])["https"])
    assert (document["version"], document["source"]) == ("1.0", "custom")
    content = document["content"]
    assert content["textType"] == "client-markdown"
    assert content["title"].endswith("REJECTED: cartpole-01")
    assert "because" in content["description"]
    assert any("https://us-east-1.console" in step for step in content["nextSteps"])
    assert document["metadata"]["threadId"] == "cartpole-01"


def test_a_success_tells_of_the_seeds_that_failed(stub: Stub, told: list[dict[str, Any]]) -> None:
    stub(finish._batch).add_response("describe_jobs", {"jobs": []})
    finish.handler(end(Outcome.SUCCEEDED, failed_jobs=[{"job_id": "j", "reason": "seed 2: the loss is NaN"}]), None)
    assert "These seeds failed:\n- seed 2: the loss is NaN" in text(told[0])


def test_a_failed_job_is_told_with_its_last_lines_and_its_own_reason(stub: Stub, told: list[dict[str, Any]]) -> None:
    said = json.dumps({"event": "ended", "exit_code": 1, "reason": "the loss is NaN"}, separators=(",", ":"))
    measured = json.dumps({"event": "metrics", "LossNotFinite": 1}, separators=(",", ":"))
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
        {"events": [{"message": "Traceback"}, {"message": measured}, {"message": said}]},
        {"logGroupName": "/train", "logStreamName": "train/default/j1", "limit": 20, "startFromHead": False},
    )
    ending = finish.handler(end(Outcome.FAILED, "seed 0: exited", [{"job_id": "j1"}]), None)
    assert ending is not None
    assert ending["reason"] == "seed 0: exited (the loss is NaN)"
    assert "Traceback" in text(told[0])
    assert "metrics" not in text(told[0])


def status_change(status: str, *, redrives: int = 0, **more: Any) -> dict[str, Any]:
    detail = {"name": "cartpole-01", "status": status, "cause": None, "redriveCount": redrives, **more}
    return {"detail-type": "Step Functions Execution Status Change", "detail": detail}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("ABORTED", Outcome.STOPPED), ("TIMED_OUT", Outcome.FAILED), ("FAILED", Outcome.FAILED)],
)
def test_an_execution_that_ended_without_its_last_step_is_recorded_too(
    status: str, outcome: Outcome, told: list[dict[str, Any]], answers: list[dict[str, Any]]
) -> None:
    ending = finish.handler(status_change(status, error="States.Runtime", cause="no such variable"), None)
    assert ending is not None
    assert ending["outcome"] == outcome
    assert "no such variable" in ending["reason"]
    assert told
    assert answers == []


def test_an_end_that_was_recorded_is_not_recorded_again_by_its_event(
    recorded: list[dict[str, Any]], record: dict[str, Any]
) -> None:
    """Every end but SUCCEEDED comes as an event too, maybe when the run was resumed long since."""
    record.update(state="TRAINING", ended_attempt=0)
    assert finish.handler(status_change("FAILED"), None) is None
    assert recorded == []


def test_the_end_of_a_redriven_execution_is_recorded_by_its_event(
    told: list[dict[str, Any]], record: dict[str, Any]
) -> None:
    record.update(state="TRAINING", ended_attempt=0)
    assert finish.handler(status_change("ABORTED", redrives=1), None) is not None
    assert told


def test_a_failed_run_that_is_resumed_goes_on(
    recorded: list[dict[str, Any]], record: dict[str, Any], answers: list[dict[str, Any]]
) -> None:
    record.update(state="FAILED", ended_attempt=0, wish="resume")
    assert finish.handler({**end(Outcome.FAILED), "redrives": 1}, None) is None
    assert answers == [{"taskToken": "T", "output": '{"goes_on": true}'}]
    assert recorded == []


def test_a_failed_run_whose_execution_is_redriven_in_the_console_goes_on(
    recorded: list[dict[str, Any]], record: dict[str, Any], answers: list[dict[str, Any]]
) -> None:
    record.update(state="FAILED", ended_attempt=0)
    finish.handler({**end(Outcome.FAILED), "redrives": 1}, None)
    assert answers == [{"taskToken": "T", "output": '{"goes_on": true}'}]
    assert from_item(recorded[0]["ExpressionAttributeValues"])[":wish"] == "resume"


@pytest.mark.parametrize(
    ("record_of_it", "redrives"),
    [
        ({"state": "FAILED", "ended_attempt": 0}, 0),
        ({"state": "FAILED", "ended_attempt": 1}, 1),
        ({"state": "STOPPED", "ended_attempt": 0}, 1),
        ({"state": "TRAINING", "ended_attempt": 0}, 1),
        ({"state": "TRAINING"}, 0),
    ],
    ids=["retried", "retried after a redrive", "stopped is stopped", "failed again", "first"],
)
def test_nothing_else_goes_on(
    told: list[dict[str, Any]],
    record: dict[str, Any],
    answers: list[dict[str, Any]],
    record_of_it: dict[str, Any],
    redrives: int,
) -> None:
    record.update(record_of_it)
    finish.handler({**end(Outcome.FAILED), "redrives": redrives}, None)
    assert answers == [{"taskToken": "T", "error": Outcome.FAILED, "cause": "because"}]


@pytest.mark.parametrize("error", ["TaskTimedOut", "TaskDoesNotExist"])
def test_an_answer_that_nobody_waits_for_is_no_failure(
    told: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, error: str
) -> None:
    def gone(**_: Any) -> None:
        raise finish._states.exceptions.from_code(error)({"Error": {"Code": error}}, "SendTaskFailure")

    monkeypatch.setattr(finish._states, "send_task_failure", gone)
    assert finish.handler(end(Outcome.FAILED), None) is not None


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ('Prepare: KeyError: {"errorMessage": "bucket", "stackTrace": ["x"]}', "Prepare: KeyError: bucket"),
        ('Train: {"no": "message"}', 'Train: {"no": "message"}'),
        ("kwargs: {not: json}", "kwargs: {not: json}"),
    ],
)
def test_an_exception_of_a_function_is_told_without_its_trace(
    told: list[dict[str, Any]], reason: str, said: str
) -> None:
    ending = finish.handler(end(Outcome.FAILED, reason), None)
    assert ending is not None
    assert ending["reason"] == said


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


def test_an_end_that_is_recorded_already_is_told_all_the_same(
    stub: Stub, record: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The function was retried: whether the message went out the first time, nobody knows."""
    stub(finish._s3).add_response("put_object", {})
    stub(finish._dynamodb).add_client_error("update_item", "ConditionalCheckFailedException")
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(finish._sns, "publish", lambda **message: published.append(message))
    finish.handler(end(Outcome.SUCCEEDED), None)
    assert len(published) == 1


def test_where_only_the_job_knows_the_reason_it_is_its_last_word() -> None:
    said = json.dumps({"event": "ended", "exit_code": 4, "reason": "The data were rejected"}, separators=(",", ":"))
    assert finish._with_last_words("", ["a table of reasons", said]) == "The data were rejected"
