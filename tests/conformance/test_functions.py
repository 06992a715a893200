"""Lambda functions: https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html"""

import json
from typing import Any

import pytest

from tests.conformance.account import Account
from tests.conformance.machine import Machine, task

CODE = """
import os
calls = 0

class TooSmall(ValueError):
    pass

def handler(event, context):
    global calls
    calls += 1
    print("call", calls)
    if event.get("small"):
        raise TooSmall("it is too small")
    return {"calls": calls, "process": os.getpid()}
"""


@pytest.fixture
def function(aws: Account) -> str:
    return aws.function(CODE)


def invoke(aws: Account, function: str, **event: Any) -> tuple[str | None, Any]:
    answer = aws.functions.invoke(FunctionName=function, Payload=json.dumps(event))
    return answer.get("FunctionError"), json.loads(answer["Payload"].read())


@pytest.mark.page("lambda/latest/dg/python-exceptions.html")
def test_an_exception_has_its_own_type_and_leaves_the_process_warm(aws: Account, function: str) -> None:
    _, before = invoke(aws, function)
    error, failure = invoke(aws, function, small=True)
    _, after = invoke(aws, function)

    assert error is not None
    assert (failure["errorType"], failure["errorMessage"]) == ("TooSmall", "it is too small")
    assert after == {"calls": 3, "process": before["process"]}


@pytest.mark.page("step-functions/latest/dg/concepts-error-handling.html")
def test_a_state_machine_can_catch_the_type(aws: Account, function: str) -> None:
    call = task(
        "arn:aws:states:::lambda:invoke",
        {"FunctionName": function, "Payload": {"small": True}},
        Catch=[{"ErrorEquals": ["TooSmall"], "Next": "Caught"}],
    )

    description = Machine(
        aws, {"Call": call, "Caught": {"Type": "Fail", "Error": "Expected", "Cause": "{% $states.input.Cause %}"}}
    ).run()

    assert description["error"] == "Expected"
    assert json.loads(description["cause"])["errorMessage"] == "it is too small"


@pytest.mark.page("lambda/latest/dg/python-logging.html")
def test_what_a_function_prints_is_in_its_log_call_by_call(aws: Account, function: str) -> None:
    for _ in range(3):
        invoke(aws, function)

    group = f"/aws/lambda/{function}"
    events = aws.logs.filter_log_events(logGroupName=group, filterPattern="call")["events"]
    assert [event["message"].strip() for event in events] == ["call 1", "call 2", "call 3"]
