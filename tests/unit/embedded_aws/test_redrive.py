"""Redrive: https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html"""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.embedded_aws.instance import Instance, unique, until
from tests.unit.embedded_aws.machine import Machine, task

GET = "arn:aws:states:::aws-sdk:s3:getObject"


@pytest.fixture
def bucket(aws: Instance) -> str:
    name = unique("redrive")
    aws.client("s3").create_bucket(Bucket=name)
    return name


def fetch(bucket: str, key: Any = "word", **fields: Any) -> dict[str, Any]:
    """A task that fails until there is such an object."""
    return task(GET, {"Bucket": bucket, "Key": key}, Output="{% $states.result.Body %}", **fields)


def put(aws: Instance, bucket: str, key: str = "word") -> None:
    aws.client("s3").put_object(Bucket=bucket, Key=key, Body=key.encode())


def redrive(aws: Instance, execution: str, **token: str) -> Any:
    return aws.states.redrive_execution(executionArn=execution, **token)["redriveDate"]


def entered(machine: Machine, execution: str) -> list[str]:
    return [
        event["stateEnteredEventDetails"]["name"]
        for event in machine.history(execution)
        if "stateEnteredEventDetails" in event
    ]


def test_it_goes_on_from_the_failed_step_with_its_input_and_variables(aws: Instance, bucket: str) -> None:
    first = {"Type": "Pass", "Output": {"given": 1}, "Assign": {"kept": "{% $states.input.n + 1 %}"}, "Next": "Fetch"}
    fetching = fetch(bucket)
    fetching["Output"] = {"body": "{% $states.result.Body %}", "kept": "{% $kept %}", "input": "{% $states.input %}"}
    machine = Machine(aws, {"First": first, "Fetch": fetching})
    execution = machine.start({"n": 41})
    assert machine.end(execution)["error"] == "S3.NoSuchKeyException"
    put(aws, bucket)

    redrive(aws, execution)
    ended = machine.end(execution)

    assert json.loads(ended["output"]) == {"body": "word", "kept": 42, "input": {"given": 1}}
    assert entered(machine, execution) == ["First", "Fetch", "Fetch"]
    types = [event["type"] for event in machine.history(execution)]
    assert types.index("ExecutionFailed") + 1 == types.index("ExecutionRedriven")
    assert types[-1] == "ExecutionSucceeded"


def test_what_is_described_tells_of_the_redrive(aws: Instance, bucket: str) -> None:
    machine = Machine(aws, {"Fetch": fetch(bucket)})
    execution = machine.start()
    before = machine.end(execution)
    assert (before["redriveCount"], before["redriveStatus"]) == (0, "REDRIVABLE")
    put(aws, bucket)
    at = redrive(aws, execution)
    after = machine.end(execution)
    assert (after["redriveCount"], after["redriveStatus"], after["redriveDate"]) == (1, "NOT_REDRIVABLE", at)
    assert "error" not in after


def test_a_fail_state_fails_again(aws: Instance) -> None:
    machine = Machine(aws, {"No": {"Type": "Fail", "Error": "No", "Cause": "because"}})
    execution = machine.start()
    machine.end(execution)
    redrive(aws, execution)
    again = machine.end(execution)
    assert (again["status"], again["error"], again["redriveCount"]) == ("FAILED", "No", 1)


def test_only_the_iterations_that_failed_run_again(aws: Instance, bucket: str) -> None:
    steps = {
        "Before": {"Type": "Pass", "Next": "Fetch"},
        "Fetch": fetch(bucket, "{% $states.input %}"),
    }
    each = {"Type": "Map", "Items": ["a", "b"], "End": True, "ItemProcessor": {"StartAt": "Before", "States": steps}}
    machine = Machine(aws, {"Each": {**each, "MaxConcurrency": 1}})
    put(aws, bucket, "a")
    execution = machine.start()
    assert machine.end(execution)["error"] == "S3.NoSuchKeyException"
    put(aws, bucket, "b")

    redrive(aws, execution)

    assert json.loads(machine.end(execution)["output"]) == ["a", "b"]
    assert entered(machine, execution) == ["Each", "Before", "Fetch", "Before", "Fetch", "Each", "Fetch"]


def test_an_aborted_execution_goes_on_too(aws: Instance, bucket: str) -> None:
    url = aws.client("sqs").create_queue(QueueName=unique("tokens"))["QueueUrl"]
    message = {"QueueUrl": url, "MessageBody": "{% $states.context.Task.Token %}"}
    machine = Machine(aws, {"Ask": task("arn:aws:states:::sqs:sendMessage.waitForTaskToken", message)})

    def asked() -> str:
        received = until(lambda: aws.client("sqs").receive_message(QueueUrl=url).get("Messages"), what="it asks")
        aws.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=received[0]["ReceiptHandle"])
        token: str = received[0]["Body"]
        return token

    execution = machine.start()
    former = asked()
    aws.states.stop_execution(executionArn=execution)
    machine.end(execution)
    redrive(aws, execution)
    token = asked()
    assert token != former
    aws.states.send_task_success(taskToken=token, output="1")
    assert machine.end(execution)["output"] == "1"


def test_the_definition_is_the_one_it_began_with(aws: Instance, bucket: str) -> None:
    machine = Machine(aws, {"Fetch": fetch(bucket)})
    execution = machine.start()
    machine.end(execution)
    put(aws, bucket)
    other = {"StartAt": "Other", "States": {"Other": {"Type": "Succeed"}}}
    aws.states.update_state_machine(stateMachineArn=machine.arn, definition=json.dumps(other))
    redrive(aws, execution)
    assert machine.end(execution)["output"] == '"word"'


def test_the_same_token_redrives_once(aws: Instance, bucket: str) -> None:
    machine = Machine(aws, {"Fetch": fetch(bucket)})
    execution = machine.start()
    machine.end(execution)
    first = redrive(aws, execution, clientToken="again")
    machine.end(execution)
    assert redrive(aws, execution, clientToken="again") == first
    assert machine.end(execution)["redriveCount"] == 1


@pytest.mark.parametrize("what", ["running", "succeeded", "unknown"])
def test_what_cannot_be_redriven_is_refused(aws: Instance, what: str) -> None:
    machine = Machine(aws, {"Wait": {"Type": "Wait", "Seconds": 600 if what == "running" else 0, "End": True}})
    execution = machine.start()
    if what != "running":
        machine.end(execution)
    with pytest.raises(ClientError) as refused:
        redrive(aws, execution + ("x" if what == "unknown" else ""))
    expected = "ExecutionDoesNotExist" if what == "unknown" else "ExecutionNotRedrivable"
    assert refused.value.response["Error"]["Code"] == expected
    if what == "running":
        aws.states.stop_execution(executionArn=execution)
