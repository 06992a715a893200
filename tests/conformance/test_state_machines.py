"""How a state machine walks through its states.

https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html
"""

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account
from tests.conformance.machine import Desk, Machine, task


@pytest.mark.page("step-functions/latest/dg/workflow-variables.html")
def test_assign_sees_the_variables_as_they_were(aws: Account) -> None:
    swap = {"Type": "Pass", "Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Next": "Told"}
    begin = {"Type": "Pass", "Assign": {"a": 1, "b": 2}, "Next": "Swap"}

    output = Machine(
        aws, {"Begin": begin, "Swap": swap, "Told": {"Type": "Succeed", "Output": {"a": "{% $a %}", "b": "{% $b %}"}}}
    ).output()

    assert output == {"a": 2, "b": 1}


@pytest.mark.page("step-functions/latest/apireference/API_GetExecutionHistory.html")
def test_the_history_tells_of_every_state_also_within_a_map(aws: Account) -> None:
    machine = Machine(
        aws,
        {
            "All": {
                "Type": "Map",
                "Items": ["x"],
                "ItemProcessor": {"StartAt": "Inner", "States": {"Inner": {"Type": "Pass", "End": True}}},
                "End": True,
            }
        },
    )
    execution = machine.start()
    machine.end(execution)

    events = machine.history(execution)

    assert [event["type"] for event in events] == [
        "ExecutionStarted",
        "MapStateEntered",
        "MapStateStarted",
        "MapIterationStarted",
        "PassStateEntered",
        "PassStateExited",
        "MapIterationSucceeded",
        "MapStateExited",
        "ExecutionSucceeded",
    ]
    assert [event["id"] for event in events] == list(range(1, 10))


@pytest.mark.page("step-functions/latest/dg/state-parallel.html")
def test_parallel_branches_have_their_own_variables_and_one_result(aws: Account) -> None:
    def branch(number: int) -> dict[str, Any]:
        assign = {"Type": "Pass", "Assign": {"mine": number}, "Next": "Tell"}
        return {
            "StartAt": "Assign",
            "States": {
                "Assign": assign,
                "Tell": {"Type": "Pass", "Output": "{% $mine + $states.input.base %}", "End": True},
            },
        }

    both = {
        "Type": "Parallel",
        "Arguments": {"base": "{% $states.input.start * 10 %}"},
        "Branches": [branch(1), branch(2)],
        "Assign": {"sum": "{% $sum($states.result) %}"},
        "Output": "{% $states.result %}",
        "Next": "Told",
    }

    output = Machine(
        aws, {"Both": both, "Told": {"Type": "Succeed", "Output": {"all": "{% $states.input %}", "sum": "{% $sum %}"}}}
    ).output({"start": 1})

    assert output == {"all": [11, 12], "sum": 23}


@pytest.mark.page("step-functions/latest/dg/service-quotas.html")
def test_an_output_over_the_limit_fails_the_execution(aws: Account) -> None:
    big = {"Type": "Pass", "Output": "{% $pad('x', 300000) %}", "End": True}

    assert Machine(aws, {"Big": big}).run()["error"] == "States.DataLimitExceeded"


@pytest.mark.page("step-functions/latest/dg/eventbridge-integration.html")
def test_ends_are_counted_as_metrics_and_published_as_events(aws: Account) -> None:
    machine = Machine(aws, {"No": {"Type": "Fail", "Error": "No", "Cause": "because"}})
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine.arn], "status": ["FAILED"]}}
    heard = aws.listener(pattern)

    machine.run()

    event = aws.until(heard, what="the event arrives")[0]
    assert event["detail-type"] == "Step Functions Execution Status Change"
    assert (event["detail"]["error"], event["detail"]["cause"]) == ("No", "because")

    def counted() -> bool:
        metrics = aws.client("cloudwatch").list_metrics(Namespace="AWS/States", MetricName="ExecutionsFailed")
        dimensions = [{"Name": "StateMachineArn", "Value": machine.arn}]
        return dimensions in [metric["Dimensions"] for metric in metrics["Metrics"]]

    aws.until(counted, what="the metric is there", seconds=aws.until_measured)


@pytest.mark.page("step-functions/latest/apireference/API_StartExecution.html")
def test_a_name_starts_one_execution_only(aws: Account) -> None:
    machine = Machine(aws, {"Wait": {"Type": "Pass", "End": True}})
    first = machine.start({"order": 1}, name="once")

    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        machine.start({"order": 2}, name="once")
    machine.end(first)
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        machine.start({"order": 1}, name="once")
    listed = aws.states.list_executions(stateMachineArn=machine.arn)["executions"]
    assert [item["name"] for item in listed] == ["once"]


@pytest.mark.page("step-functions/latest/apireference/API_StartExecution.html")
def test_starting_again_what_runs_already_is_answered_with_it(aws: Account) -> None:
    desk = Desk(aws)
    machine = Machine(aws, {"Ask": desk.task()})
    running = machine.start({"order": 1}, name="once")

    assert machine.start({"order": 1}, name="once") == running

    aws.states.stop_execution(executionArn=running)


@pytest.mark.page("step-functions/latest/dg/concepts-error-handling.html")
def test_retriers_are_asked_in_their_order_and_each_counts_for_itself(aws: Account) -> None:
    """Four attempts: the first, two by the retrier of the error, and none by the one behind it."""
    name = aws.function("def handler(event, context):\n    print('called')\n    raise ValueError('always')\n")
    retry = [
        {"ErrorEquals": ["KeyError"], "IntervalSeconds": 1, "MaxAttempts": 5},
        {"ErrorEquals": ["ValueError"], "IntervalSeconds": 1, "MaxAttempts": 2, "BackoffRate": 1},
        {"ErrorEquals": ["States.ALL"], "IntervalSeconds": 1, "MaxAttempts": 5},
    ]
    call = task("arn:aws:states:::lambda:invoke", {"FunctionName": name}, Retry=retry)

    machine = Machine(aws, {"Call": call})
    execution = machine.start()
    description = machine.end(execution)

    assert (description["status"], description["error"]) == ("FAILED", "ValueError")
    kinds = [event["type"] for event in machine.history(execution)]
    assert kinds.count("TaskFailed") + kinds.count("LambdaFunctionFailed") == 3


@pytest.mark.page("step-functions/latest/dg/concepts-error-handling.html")
def test_the_first_catcher_that_matches_catches(aws: Account) -> None:
    name = aws.function("def handler(event, context):\n    raise ValueError('always')\n")

    def caught(*catchers: tuple[str, str]) -> Any:
        catch = [{"ErrorEquals": [error], "Next": following} for error, following in catchers]
        call = task("arn:aws:states:::lambda:invoke", {"FunctionName": name}, Catch=catch)
        ends = {end: {"Type": "Pass", "Output": end, "End": True} for end in ("A", "B")}
        return Machine(aws, {"Call": call, **ends}).run()

    assert caught(("KeyError", "A"), ("ValueError", "B"))["output"] == '"B"'
    assert caught(("States.TaskFailed", "A"), ("ValueError", "B"))["output"] == '"A"'
    assert caught(("States.ALL", "B"))["output"] == '"B"'
    assert caught(("KeyError", "A"), ("States.Timeout", "B"))["error"] == "ValueError"


@pytest.mark.page("step-functions/latest/dg/concepts-error-handling.html")
def test_all_does_not_catch_what_is_too_large(aws: Account) -> None:
    name = aws.function("def handler(event, context):\n    return 'x' * 300_000\n")
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    call = task("arn:aws:states:::lambda:invoke", {"FunctionName": name}, Catch=catch)

    description = Machine(aws, {"Call": call, "Caught": {"Type": "Succeed"}}).run()

    assert (description["status"], description["error"]) == ("FAILED", "States.DataLimitExceeded")


@pytest.mark.page("step-functions/latest/dg/state-choice.html")
def test_a_choice_takes_the_first_condition_that_is_true_and_assigns_there(aws: Account) -> None:
    choice = {
        "Type": "Choice",
        "Choices": [
            {"Condition": "{% $states.input.n > 10 %}", "Assign": {"size": "large"}, "Next": "Told"},
            {"Condition": "{% $states.input.n > 5 %}", "Assign": {"size": "middle"}, "Next": "Told"},
        ],
        "Assign": {"size": "small"},
        "Default": "Told",
    }
    machine = Machine(aws, {"Choose": choice, "Told": {"Type": "Succeed", "Output": "{% $size %}"}})

    assert [machine.output({"n": n}) for n in (11, 6, 1)] == ["large", "middle", "small"]


@pytest.mark.page("step-functions/latest/dg/transforming-data.html")
def test_an_expression_without_a_result_is_an_error_that_can_be_caught(aws: Account) -> None:
    states = {"Pass": {"Type": "Pass", "Output": "{% $states.input.nothing %}", "End": True}}

    assert Machine(aws, states).run({})["error"] == "States.QueryEvaluationError"


@pytest.mark.page("step-functions/latest/dg/state-map-inline.html")
def test_a_map_keeps_the_order_of_its_items_and_gives_each_its_place(aws: Account) -> None:
    inner = {"Type": "Pass", "Output": "{% [$states.context.Map.Item.Index, $states.input] %}", "End": True}
    each = {
        "Type": "Map",
        "Items": "{% $states.input.items %}",
        "MaxConcurrency": 2,
        "ItemProcessor": {"StartAt": "Inner", "States": {"Inner": inner}},
        "End": True,
    }

    assert Machine(aws, {"Each": each}).output({"items": ["a", "b", "c"]}) == [[0, "a"], [1, "b"], [2, "c"]]


@pytest.mark.page("step-functions/latest/dg/state-map-inline.html")
def test_a_map_over_nothing_is_an_empty_list(aws: Account) -> None:
    inner = {"Type": "Fail", "Error": "Never"}
    each = {"Type": "Map", "Items": [], "ItemProcessor": {"StartAt": "Inner", "States": {"Inner": inner}}, "End": True}

    assert Machine(aws, {"Each": each}).output() == []


@pytest.mark.page("step-functions/latest/apireference/API_StopExecution.html")
def test_a_stopped_execution_is_aborted_and_stays_so(aws: Account) -> None:
    desk = Desk(aws)
    machine = Machine(
        aws, {"Ask": desk.task(Catch=[{"ErrorEquals": ["States.ALL"], "Next": "After"}]), "After": {"Type": "Succeed"}}
    )
    execution = machine.start()
    token = desk.token()

    aws.states.stop_execution(executionArn=execution, error="Enough", cause="by hand")
    description = machine.end(execution)

    assert (description["status"], description["error"], description["cause"]) == ("ABORTED", "Enough", "by hand")
    with pytest.raises(ClientError, match=r"TaskTimedOut|InvalidToken|TaskDoesNotExist"):
        aws.states.send_task_success(taskToken=token, output="{}")
    assert machine.history(execution)[-1]["type"] == "ExecutionAborted"
    assert machine.describe(execution)["status"] == "ABORTED"


@pytest.mark.page("step-functions/latest/dg/connect-to-resource.html")
def test_a_token_carries_a_result_or_an_error_into_its_execution(aws: Account) -> None:
    desk = Desk(aws)
    machine = Machine(aws, {"Ask": desk.task()})

    succeeded = machine.start()
    aws.states.send_task_success(taskToken=desk.token(), output='{"answer": 42}')
    failed = machine.start()
    aws.states.send_task_failure(taskToken=desk.token(), error="No", cause="because")

    assert json.loads(machine.end(succeeded)["output"]) == {"answer": 42}
    description = machine.end(failed)
    assert (description["status"], description["error"], description["cause"]) == ("FAILED", "No", "because")


@pytest.mark.page("step-functions/latest/apireference/API_SendTaskSuccess.html")
def test_a_token_is_worth_nothing_once_it_was_used(aws: Account) -> None:
    desk = Desk(aws)
    machine = Machine(aws, {"Ask": desk.task()})
    execution = machine.start()
    token = desk.token()
    aws.states.send_task_success(taskToken=token, output="{}")
    machine.end(execution)

    with pytest.raises(ClientError, match=r"TaskTimedOut|InvalidToken|TaskDoesNotExist"):
        aws.states.send_task_success(taskToken=token, output="{}")


@pytest.mark.page("step-functions/latest/dg/connect-to-resource.html")
def test_a_task_that_waits_for_a_token_has_a_time_limit(aws: Account) -> None:
    machine = Machine(aws, {"Ask": Desk(aws).task(TimeoutSeconds="{% $states.input.seconds %}")})

    assert machine.run({"seconds": 1})["error"] == "States.Timeout"


@pytest.mark.page("step-functions/latest/dg/connect-to-resource.html")
def test_a_task_must_be_heard_of_as_often_as_its_heartbeat_says(aws: Account) -> None:
    desk = Desk(aws)
    machine = Machine(aws, {"Ask": desk.task(HeartbeatSeconds=2, TimeoutSeconds=60)})
    alive = machine.start()
    token = desk.token()
    for _ in range(4):
        time.sleep(0.8)  # nothing to wait for: that it still runs after more than its heartbeat is the behaviour
        aws.states.send_task_heartbeat(taskToken=token)
    assert machine.describe(alive)["status"] == "RUNNING"

    description = machine.end(alive)

    assert (description["status"], description["error"]) == ("FAILED", "States.HeartbeatTimeout")


@pytest.mark.page("step-functions/latest/apireference/API_CreateStateMachine.html")
def test_a_definition_that_leads_nowhere_is_refused(aws: Account) -> None:
    with pytest.raises(ClientError, match="InvalidDefinition"):
        Machine(aws, {"Begin": {"Type": "Pass", "Next": "Nowhere"}})
