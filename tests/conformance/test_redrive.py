"""How an execution that did not succeed goes on."""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account
from tests.conformance.machine import Desk, Machine


def redrive(aws: Account, execution: str, **token: str) -> Any:
    return aws.states.redrive_execution(executionArn=execution, **token)["redriveDate"]


def fail(aws: Account, desk: Desk) -> None:
    aws.states.send_task_failure(taskToken=desk.token(), error="No", cause="not yet")


def answer(aws: Account, desk: Desk, output: Any = 1) -> None:
    aws.states.send_task_success(taskToken=desk.token(), output=json.dumps(output))


def entered(machine: Machine, execution: str) -> list[str]:
    return [
        event["stateEnteredEventDetails"]["name"]
        for event in machine.history(execution)
        if "stateEnteredEventDetails" in event
    ]


@pytest.mark.page("step-functions/latest/dg/redrive-executions.html")
def test_it_goes_on_from_the_failed_step_with_its_input_and_variables(aws: Account) -> None:
    desk = Desk(aws)
    output = {"word": "{% $states.result %}", "kept": "{% $kept %}", "input": "{% $states.input %}"}
    first = {"Type": "Pass", "Output": {"given": 1}, "Assign": {"kept": "{% $states.input.n + 1 %}"}, "Next": "Ask"}
    machine = Machine(aws, {"First": first, "Ask": desk.task(Output=output)})
    execution = machine.start({"n": 41})
    fail(aws, desk)
    assert machine.end(execution)["error"] == "No"

    redrive(aws, execution)
    answer(aws, desk, "word")
    ended = machine.end(execution)

    assert json.loads(ended["output"]) == {"word": "word", "kept": 42, "input": {"given": 1}}
    assert entered(machine, execution).count("First") == 1
    types = [event["type"] for event in machine.history(execution)]
    assert types.index("ExecutionFailed") + 1 == types.index("ExecutionRedriven")
    assert types[-1] == "ExecutionSucceeded"


@pytest.mark.page("step-functions/latest/apireference/API_DescribeExecution.html")
def test_its_description_tells_of_the_redrive(aws: Account) -> None:
    desk = Desk(aws)
    machine = Machine(aws, {"Ask": desk.task()})
    execution = machine.start()
    fail(aws, desk)
    before = machine.end(execution)
    assert (before["redriveCount"], before["redriveStatus"]) == (0, "REDRIVABLE")
    at = redrive(aws, execution)
    answer(aws, desk)
    after = machine.end(execution)
    assert (after["redriveCount"], after["redriveStatus"], after["redriveDate"]) == (1, "NOT_REDRIVABLE", at)
    assert "error" not in after


@pytest.mark.page("step-functions/latest/dg/redrive-executions.html")
def test_a_fail_state_fails_again(aws: Account) -> None:
    machine = Machine(aws, {"No": {"Type": "Fail", "Error": "No", "Cause": "because"}})
    execution = machine.start()
    machine.end(execution)
    redrive(aws, execution)
    again = machine.end(execution)
    assert (again["status"], again["error"], again["redriveCount"]) == ("FAILED", "No", 1)


@pytest.mark.page("step-functions/latest/dg/redrive-executions.html")
def test_only_the_iterations_that_failed_run_again_and_from_their_failed_step(aws: Account) -> None:
    desk = Desk(aws)
    steps = {"Before": {"Type": "Pass", "Next": "Ask"}, "Ask": desk.task()}
    each = {"Type": "Map", "Items": ["a", "b"], "End": True, "ItemProcessor": {"StartAt": "Before", "States": steps}}
    machine = Machine(aws, {"Each": {**each, "MaxConcurrency": 1}})
    execution = machine.start()
    answer(aws, desk, "first")
    fail(aws, desk)
    machine.end(execution)

    redrive(aws, execution)
    answer(aws, desk, "second")

    assert json.loads(machine.end(execution)["output"]) == ["first", "second"]
    assert entered(machine, execution).count("Before") == 2


@pytest.mark.page("step-functions/latest/dg/redrive-executions.html")
def test_an_aborted_execution_goes_on_too(aws: Account) -> None:
    desk = Desk(aws)
    machine = Machine(aws, {"Ask": desk.task()})
    execution = machine.start()
    former = desk.token()
    aws.states.stop_execution(executionArn=execution)
    machine.end(execution)

    redrive(aws, execution)
    token = desk.token()

    assert token != former
    aws.states.send_task_success(taskToken=token, output="1")
    assert machine.end(execution)["output"] == "1"


@pytest.mark.page("step-functions/latest/dg/redrive-executions.html")
def test_its_definition_is_the_one_that_it_began_with(aws: Account) -> None:
    desk = Desk(aws)
    machine = Machine(aws, {"Ask": desk.task()})
    execution = machine.start()
    fail(aws, desk)
    machine.end(execution)
    other = {"StartAt": "Other", "States": {"Other": {"Type": "Succeed"}}}
    aws.states.update_state_machine(stateMachineArn=machine.arn, definition=json.dumps(other))
    redrive(aws, execution)
    answer(aws, desk, "asked")
    assert machine.end(execution)["output"] == '"asked"'


@pytest.mark.page("step-functions/latest/apireference/API_RedriveExecution.html")
def test_the_same_token_redrives_once(aws: Account) -> None:
    desk = Desk(aws)
    machine = Machine(aws, {"Ask": desk.task()})
    execution = machine.start()
    fail(aws, desk)
    machine.end(execution)
    first = redrive(aws, execution, clientToken="again")
    assert redrive(aws, execution, clientToken="again") == first
    answer(aws, desk)
    assert machine.end(execution)["redriveCount"] == 1


@pytest.mark.page("step-functions/latest/apireference/API_RedriveExecution.html")
@pytest.mark.parametrize("what", ["running", "succeeded", "unknown"])
def test_what_cannot_be_redriven_is_refused(aws: Account, what: str) -> None:
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


@pytest.mark.page("step-functions/latest/dg/redrive-executions.html")
def test_of_a_parallel_state_only_the_branches_that_failed_run_again(aws: Account) -> None:
    desk = Desk(aws)
    done = {"StartAt": "Done", "States": {"Done": {"Type": "Pass", "Output": "done", "End": True}}}
    asking = {"StartAt": "Ask", "States": {"Ask": desk.task()}}
    machine = Machine(aws, {"Both": {"Type": "Parallel", "Branches": [done, asking], "End": True}})
    execution = machine.start()
    aws.until(
        lambda: any(e["type"] == "PassStateExited" for e in machine.history(execution)), what="one branch has finished"
    )
    fail(aws, desk)
    machine.end(execution)

    redrive(aws, execution)
    answer(aws, desk, "asked")

    assert json.loads(machine.end(execution)["output"]) == ["done", "asked"]
    assert entered(machine, execution).count("Done") == 1
