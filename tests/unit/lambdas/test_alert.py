"""Alarms, blocked queues and failed jobs in words: what happened, to which run, what to do."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from contract.alarms import ALARMS, CAUSES_OF_A_BLOCKED_QUEUE, OF_ENDPOINTS, OF_RUNS, alarm_name, alarm_of
from lambdas.alert import handler as alert
from lambdas.items import to_item

Stub = Callable[[Any], Stubber]
RUN = "cartpole-0123456789ab"
QUEUE = "arn:aws:batch:us-east-1:000000000000:job-queue/gpu"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPIC_ARN", "topic")
    monkeypatch.setenv("RUN_TABLE", "runs")
    monkeypatch.setenv("RLPIPE_STAGE", "dev")


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    published: list[dict[str, Any]] = []
    monkeypatch.setattr(alert._sns, "publish", lambda **message: published.append(message))
    return published


def text(message: dict[str, Any]) -> str:
    words: str = json.loads(message["Message"])["default"]
    return words


def of_run(name: str, state: str = "ALARM") -> dict[str, Any]:
    """What the alarm over all runs sends for one of them."""
    query = {"id": "runs", "expression": "SELECT MAX(X) FROM SCHEMA(...) GROUP BY Experiment, Run", "returnData": True}
    return {
        "source": "aws.cloudwatch",
        "alarmData": {
            "alarmName": name,
            "alarmContributor": {"id": "6d44", "attributes": {"Experiment": "cartpole", "Run": RUN}},
            "state": {"value": state, "reason": "Threshold Crossed: 1 datapoint [0.7] was greater than 0.5."},
            "configuration": {"description": "", "metrics": [query]},
        },
    }


def of_metric(name: str, **dimensions: str) -> dict[str, Any]:
    stat = {"metric": {"namespace": "rlpipe", "name": "X", "dimensions": dimensions}, "period": 60, "stat": "Sum"}
    return {
        "alarmData": {
            "alarmName": name,
            "state": {"value": "ALARM", "reason": "Threshold Crossed: 1 datapoint [1.0] was greater than 0."},
            "previousState": {"value": "OK"},
            "configuration": {"description": "Look at it: rlpipe doctor", "metrics": [{"id": "m", "metricStat": stat}]},
        }
    }


@pytest.mark.parametrize("alarm", OF_RUNS, ids=lambda alarm: alarm.name)
def test_an_alarm_of_a_run_says_what_happened_which_run_and_what_to_type(
    alarm: Any, told: list[dict[str, Any]], stub: Stub
) -> None:
    stub(alert._dynamodb).add_response("update_item", {})
    alert.handler(of_run(alarm_name("dev", alarm)), None)
    [message] = told
    assert message["Subject"] == f"{alarm.name}: {RUN}"
    for part in (RUN, alarm.title, alarm.meaning, alarm.why, "[0.7]", *(it.format(run=RUN) for it in alarm.commands)):
        assert part in text(message)
    chat = json.loads(json.loads(message["Message"])["https"])
    assert chat["metadata"]["threadId"] == RUN
    assert f"`{alarm.commands[0].format(run=RUN)}`" in chat["content"]["nextSteps"]
    assert message["MessageAttributes"]["outcome"]["StringValue"] == alarm.name


def test_the_record_of_the_run_remembers_the_alarm(told: list[dict[str, Any]], stub: Stub) -> None:
    stub(alert._dynamodb).add_response(
        "update_item",
        {},
        {
            "TableName": "runs",
            "Key": {"run_id": {"S": RUN}},
            "UpdateExpression": "SET #alarm = :now, history = list_append(history, :change) ADD version :one",
            "ConditionExpression": "attribute_exists(run_id) AND (attribute_not_exists(#alarm) OR #alarm < :before)",
            "ExpressionAttributeNames": {"#alarm": "alarm_ReturnDrop"},
            "ExpressionAttributeValues": ANY,
        },
    )
    alert.handler(of_run("rlpipe-dev-ReturnDrop"), None)
    assert told


def test_an_alarm_that_goes_off_and_on_does_not_tell_of_a_run_again_and_again(
    told: list[dict[str, Any]], stub: Stub
) -> None:
    stub(alert._dynamodb).add_client_error("update_item", "ConditionalCheckFailedException")
    alert.handler(of_run("rlpipe-dev-ReturnDrop"), None)
    assert told == []


def test_nothing_is_told_of_what_is_well_again_nor_twice_of_what_rings(told: list[dict[str, Any]]) -> None:
    alert.handler(of_run("rlpipe-dev-ReturnDrop", state="OK"), None)
    as_a_whole = of_run("rlpipe-dev-ReturnDrop")
    del as_a_whole["alarmData"]["alarmContributor"]
    alert.handler(as_a_whole, None)
    assert told == []


def test_dead_letters_are_told_with_their_queue(told: list[dict[str, Any]]) -> None:
    alert.handler(of_metric("rlpipe-dev-Events-DeadLetters", QueueName="rlpipe-dev-events-DeadLetters1"), None)
    assert "--queue-name rlpipe-dev-events-DeadLetters1" in text(told[0])
    assert told[0]["Subject"] == "DeadLetters: dev"


def test_an_alarm_that_only_its_description_explains_is_told_in_its_words(told: list[dict[str, Any]]) -> None:
    alert.handler(of_metric("somebody-elses"), None)
    assert told[0]["Subject"] == "ALARM: somebody-elses"
    assert "Look at it: rlpipe doctor" in text(told[0])


@pytest.mark.parametrize("alarm", OF_ENDPOINTS, ids=lambda alarm: alarm.name)
def test_an_alarm_of_an_endpoint_names_it(alarm: Any, told: list[dict[str, Any]]) -> None:
    alert.handler(of_metric(f"rlpipe-cartpole-{alarm.name}", EndpointName="cartpole", VariantName="v"), None)
    assert told[0]["Subject"] == f"{alarm.name}: cartpole"
    for part in (alarm.meaning, alarm.advice.replace("`", ""), "cartpole"):
        assert part in text(told[0])


@pytest.mark.parametrize(
    ("name", "before", "subjects"),
    [("idle", "OK", ["idle: cartpole"]), ("idle", "ALARM", []), ("errors", "OK", [])],
    ids=["it was asked before", "it rang before", "another alarm"],
)
def test_an_endpoint_whose_requests_end_is_idle(
    name: str, before: str, subjects: list[str], told: list[dict[str, Any]]
) -> None:
    """No requests are no data; a new endpoint, which has had none yet, changes no state."""
    event = of_metric(f"rlpipe-cartpole-{name}", EndpointName="cartpole")
    event["alarmData"] |= {"state": {"value": "INSUFFICIENT_DATA", "reason": ""}, "previousState": {"value": before}}
    alert.handler(event, None)
    assert [message["Subject"] for message in told] == subjects


@pytest.mark.parametrize("code", [*CAUSES_OF_A_BLOCKED_QUEUE, "NEW:CAUSE"])
def test_a_blocked_queue_is_told_with_its_cause_in_words_and_the_fix(
    code: str, told: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    event = {
        "detail-type": "Batch Job Queue Blocked",
        "detail": {
            "jobName": f"{RUN}-seed-0",
            "jobQueue": QUEUE,
            "statusReason": f"{code} - said by Batch",
            "parameters": {"run": f"s3://artifacts/runs/{RUN}", "seed": "0"},
        },
    }
    alert.handler(event, None)
    cause, fix = CAUSES_OF_A_BLOCKED_QUEUE.get(code, alert.UNKNOWN_CAUSE)
    for part in (f"{RUN}-seed-0", "queue gpu", cause, fix.replace("`", ""), "said by Batch", f"rlpipe stop {RUN}"):
        assert part in text(told[0])
    [datum] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert (datum["QueuesBlocked"], datum["Stage"]) == (1, "dev")


def failed(**detail: Any) -> dict[str, Any]:
    return {
        "detail-type": "Batch Job State Change",
        "detail": {
            "jobName": f"{RUN}-seed-2",
            "jobQueue": QUEUE,
            "status": "FAILED",
            "statusReason": "Essential container in task exited",
            "container": {"exitCode": 1},
            "parameters": {"run": f"s3://artifacts/runs/{RUN}", "seed": "2"},
            **detail,
        },
    }


def record(stub: Stub, *seeds: int) -> None:
    stub(alert._dynamodb).add_response("get_item", {"Item": to_item({"run_id": RUN, "seeds": list(seeds)})})


def test_a_seed_that_fails_beside_others_is_told_at_once(
    told: list[dict[str, Any]], stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    record(stub, 1, 2, 3)
    alert.handler(failed(), None)
    assert "seed-2 of cartpole-0123456789ab failed: Essential container in task exited (exit code 1)." in text(told[0])
    assert "goes on with seed-1, seed-3" in text(told[0])
    assert json.loads(capsys.readouterr().out)["JobsFailed"] == 1


def test_a_job_that_its_run_ends_with_is_counted_and_told_by_the_run(
    told: list[dict[str, Any]], stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    record(stub, 2)
    alert.handler(failed(), None)
    assert told == []
    assert json.loads(capsys.readouterr().out)["JobsFailed"] == 1


@pytest.mark.parametrize(
    "ended",
    [
        {"isTerminated": True, "statusReason": "paused by somebody", "container": {"exitCode": 75}},
        {"isCancelled": True, "statusReason": "stopped by somebody", "container": {}},
        {"container": {"exitCode": 3}},
    ],
)
def test_what_was_paused_stopped_or_reached_a_limit_did_not_fail(
    ended: dict[str, Any], told: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    alert.handler(failed(**ended), None)
    assert told == []
    assert capsys.readouterr().out == ""


def test_a_job_that_batch_cancelled_because_it_could_never_start_failed(
    stub: Stub, capsys: pytest.CaptureFixture[str]
) -> None:
    record(stub, 2)
    reason = "Job state time limit exceeded: MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"
    alert.handler(failed(isCancelled=True, statusReason=reason, container={}), None)
    assert json.loads(capsys.readouterr().out)["JobsFailed"] == 1


def test_an_alarm_is_known_by_its_name_and_no_other_is() -> None:
    for alarm in ALARMS:
        assert alarm_of(alarm_name("dev", alarm)) is alarm
        assert alarm_of(alarm_name("dev", alarm, "Events")) is alarm
    assert alarm_of("rlpipe-cartpole-other") is None
    assert alarm_of("other-ReturnDrop") is None
