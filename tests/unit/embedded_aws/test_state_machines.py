"""State machines: https://docs.aws.amazon.com/step-functions/latest/dg/concepts-amazon-states-language.html"""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.embedded_aws.instance import Instance, unique, until
from tests.unit.embedded_aws.machine import Machine, task

SYNC = "arn:aws:states:::batch:submitJob.sync"


def job_state(aws: Instance, queue: str, *command: str, **fields: Any) -> dict[str, Any]:
    arguments = {"JobName": "from-states", "JobQueue": queue, "JobDefinition": aws.definition(*command)}
    return task(SYNC, arguments, **fields)


def test_a_job_is_waited_for_and_its_description_is_the_result(aws: Instance, queue: str) -> None:
    state = job_state(aws, queue, "say", "Ref::word")
    state["Arguments"]["Parameters"] = {"word": "{% $states.input.word %}"}
    state["Arguments"]["ContainerOverrides"] = {"Environment": [{"Name": "COLOUR", "Value": "blue"}]}

    job = Machine(aws, {"Train": state}).output({"word": "hello"})

    assert (job["Status"], job["Container"]["ExitCode"]) == ("SUCCEEDED", 0)
    assert job["Parameters"] == {"word": "hello"}
    assert job["Container"]["Environment"] == [{"Name": "COLOUR", "Value": "blue"}]
    assert aws.lines(aws.job(job["JobId"])) == ["hello"]


def test_a_failed_job_is_task_failed_with_the_job_as_its_cause(aws: Instance, queue: str) -> None:
    description = Machine(aws, {"Train": job_state(aws, queue, "exit", "3")}).run()

    assert (description["status"], description["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(description["cause"])
    assert (cause["Status"], cause["Container"]["ExitCode"], len(cause["Attempts"])) == ("FAILED", 3, 1)
    assert "output" not in description


def test_a_refused_submission_is_a_client_exception(aws: Instance) -> None:
    arguments = {"JobName": "job", "JobQueue": "nowhere", "JobDefinition": "nothing"}

    description = Machine(aws, {"Train": task(SYNC, arguments)}).run()

    assert description["error"] == "Batch.ClientException"
    assert "Job queue nowhere does not exist (Service: Batch, Status Code: 400" in description["cause"]


def test_stopping_the_execution_terminates_its_job(aws: Instance, queue: str) -> None:
    machine = Machine(aws, {"Train": job_state(aws, queue, "graceful")})
    execution = machine.start()
    job_id = machine.job_of(execution)
    aws.says(job_id, "training")

    aws.states.stop_execution(executionArn=execution, error="Stopped", cause="by hand")
    job = aws.end(job_id)
    description = machine.end(execution)

    assert (job["status"], job["container"]["exitCode"]) == ("FAILED", 75)
    assert (description["status"], description["error"], description["cause"]) == ("ABORTED", "Stopped", "by hand")
    assert machine.history(execution)[-1]["type"] == "ExecutionAborted"


def test_a_token_lets_an_execution_go_on_until_it_is_stopped(aws: Instance) -> None:
    url = aws.client("sqs").create_queue(QueueName=unique("tokens"))["QueueUrl"]
    message = {"QueueUrl": url, "MessageBody": "{% $states.context.Task.Token %}"}
    machine = Machine(aws, {"Ask": task("arn:aws:states:::sqs:sendMessage.waitForTaskToken", message)})

    def asked() -> str:
        received = until(
            lambda: aws.client("sqs").receive_message(QueueUrl=url).get("Messages"), what="the token is sent"
        )
        token: str = received[0]["Body"]
        aws.client("sqs").delete_message(QueueUrl=url, ReceiptHandle=received[0]["ReceiptHandle"])
        return token

    answered = machine.start()
    aws.states.send_task_success(taskToken=asked(), output='{"answer": 42}')
    stopped = machine.start()
    token = asked()
    aws.states.stop_execution(executionArn=stopped)

    assert json.loads(machine.end(answered)["output"]) == {"answer": 42}
    assert machine.end(stopped)["status"] == "ABORTED"

    def refused() -> bool:
        try:
            aws.states.send_task_success(taskToken=token, output="{}")
        except ClientError:
            return True
        return False

    until(refused, what="the token of a stopped execution is worth nothing")
    assert machine.history(stopped)[-1]["type"] == "ExecutionAborted"


def test_stopping_also_ends_jobs_within_a_map(aws: Instance, queue: str) -> None:
    train = job_state(aws, queue, "graceful")
    machine = Machine(
        aws,
        {
            "Train": {
                "Type": "Map",
                "Items": [0, 1],
                "ItemProcessor": {"StartAt": "Seed", "States": {"Seed": train}},
                "Catch": [{"ErrorEquals": ["States.ALL"], "Next": "After"}],
                "Next": "After",
            },
            "After": {"Type": "Succeed"},
        },
    )
    execution = machine.start()

    def submitted() -> list[str] | None:
        found = [
            json.loads(event["taskSubmittedEventDetails"]["output"])["JobId"]
            for event in machine.history(execution)
            if event["type"] == "TaskSubmitted"
        ]
        return found if len(found) == 2 else None

    jobs = until(submitted, what="both jobs are submitted")
    for job_id in jobs:
        aws.says(job_id, "training")
    aws.states.stop_execution(executionArn=execution)

    assert {aws.end(job_id)["status"] for job_id in jobs} == {"FAILED"}
    assert machine.end(execution)["status"] == "ABORTED"
    assert "After" not in json.dumps(machine.history(execution), default=str)


@pytest.mark.parametrize("limited", ["execution", "state"])
def test_a_time_limit_terminates_the_job(aws: Instance, queue: str, limited: str) -> None:
    limit = {"TimeoutSeconds": 1}
    state = job_state(aws, queue, "graceful", **(limit if limited == "state" else {}))
    machine = Machine(aws, {"Train": state}, **(limit if limited == "execution" else {}))
    execution = machine.start()

    job = aws.end(machine.job_of(execution))
    description = machine.end(execution)

    assert job["status"] == "FAILED"
    assert description["error"] == "States.Timeout"
    assert description["status"] == ("TIMED_OUT" if limited == "execution" else "FAILED")


def test_the_first_failure_in_a_map_ends_the_other_iterations(aws: Instance, queue: str) -> None:
    choose = {
        "Type": "Choice",
        "Choices": [{"Condition": "{% $states.input = 'fails' %}", "Next": "Fails"}],
        "Default": "Runs",
    }
    branch = {
        "Which": choose,
        "Runs": job_state(aws, queue, "graceful"),
        "Fails": {"Type": "Fail", "Error": "Broken", "Cause": "{% 'the item was ' & $states.input %}"},
    }
    machine = Machine(
        aws,
        {
            "All": {
                "Type": "Map",
                "Items": "{% $states.input.items %}",
                "ItemProcessor": {"StartAt": "Which", "States": branch},
                "Catch": [
                    {
                        "ErrorEquals": ["States.ALL"],
                        "Assign": {"why": "{% $states.errorOutput %}"},
                        "Next": "Told",
                    }
                ],
                "End": True,
            },
            "Told": {"Type": "Succeed", "Output": "{% $why %}"},
        },
    )
    execution = machine.start({"items": ["runs", "fails"]})

    output = json.loads(machine.end(execution)["output"])

    assert output == {"Error": "Broken", "Cause": "the item was fails"}
    for event in machine.history(execution):
        if event["type"] == "TaskSubmitted":
            assert aws.end(json.loads(event["taskSubmittedEventDetails"]["output"])["JobId"])["status"] == "FAILED"


def test_objects_are_read_as_text_and_written_from_json(aws: Instance) -> None:
    bucket = unique("objects")
    aws.s3.create_bucket(Bucket=bucket)
    place = {"Bucket": bucket, "Key": "verdict.json"}
    write = task("arn:aws:states:::aws-sdk:s3:putObject", {**place, "Body": "{% $states.input %}"}, Next="Read")
    del write["End"]
    read = task(
        "arn:aws:states:::aws-sdk:s3:getObject", place, Output="{% $parse($states.result.Body).mean.value + 1 %}"
    )

    assert Machine(aws, {"Write": write, "Read": read}).output({"mean": {"value": 41}}) == 42
    assert aws.s3.get_object(**place)["Body"].read() == b'{"mean":{"value":41}}'


def test_a_missing_object_is_an_error_with_a_name(aws: Instance) -> None:
    bucket = unique("objects")
    aws.s3.create_bucket(Bucket=bucket)

    description = Machine(
        aws, {"Read": task("arn:aws:states:::aws-sdk:s3:getObject", {"Bucket": bucket, "Key": "nothing"})}
    ).run()

    assert description["error"] == "S3.NoSuchKeyException"


def test_sagemaker_is_called_and_its_errors_have_the_names_of_the_sdk(aws: Instance) -> None:
    endpoint = aws.endpoint(aws.model("x"))
    call = "arn:aws:states:::aws-sdk:sagemaker:"

    found = Machine(aws, {"Find": task(f"{call}describeEndpoint", {"EndpointName": endpoint})}).output()
    missing = Machine(aws, {"Find": task(f"{call}describeEndpoint", {"EndpointName": "nobody"})}).run()

    assert (found["EndpointName"], found["EndpointStatus"]) == (endpoint, "InService")
    assert isinstance(found["CreationTime"], str)
    assert missing["error"] == "SageMaker.SageMakerException"
    assert "Could not find endpoint" in missing["cause"]


def test_batch_is_called_by_the_sdk_integration(aws: Instance, queue: str) -> None:
    job_id = aws.submit(aws.definition("say", "x"), queue)

    answer = Machine(
        aws, {"Describe": task("arn:aws:states:::aws-sdk:batch:describeJobs", {"Jobs": [job_id]})}
    ).output()

    assert answer["Jobs"][0]["JobId"] == job_id


def test_assign_sees_the_variables_as_they_were(aws: Instance) -> None:
    swap = {"Type": "Pass", "Assign": {"a": "{% $b %}", "b": "{% $a %}"}, "Next": "Told"}
    begin = {"Type": "Pass", "Assign": {"a": 1, "b": 2}, "Next": "Swap"}

    output = Machine(
        aws, {"Begin": begin, "Swap": swap, "Told": {"Type": "Succeed", "Output": {"a": "{% $a %}", "b": "{% $b %}"}}}
    ).output()

    assert output == {"a": 2, "b": 1}


def test_waits_are_expressions_and_shorter_than_in_an_account(aws: Instance) -> None:
    wait = {"Type": "Wait", "Seconds": "{% $states.input.seconds %}", "End": True}

    description = Machine(aws, {"Wait": wait}).run({"seconds": 10})

    assert (description["stopDate"] - description["startDate"]).total_seconds() < 5


def test_the_history_tells_of_every_state_also_within_a_map(aws: Instance) -> None:
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


def test_parallel_branches_have_their_own_variables_and_one_result(aws: Instance) -> None:
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


def test_an_output_over_the_limit_fails_the_execution(aws: Instance) -> None:
    big = {"Type": "Pass", "Output": "{% $join([1..80000].('xxxx')) %}", "End": True}

    assert Machine(aws, {"Big": big}).run()["error"] == "States.DataLimitExceeded"


def test_ends_are_counted_as_metrics_and_published_as_events(aws: Instance) -> None:
    events, sqs, name = aws.client("events"), aws.client("sqs"), unique("ends")
    machine = Machine(aws, {"No": {"Type": "Fail", "Error": "No", "Cause": "because"}})
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    pattern = {"source": ["aws.states"], "detail": {"stateMachineArn": [machine.arn], "status": ["FAILED"]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": f"arn:aws:sqs:us-east-1:000000000000:{name}"}])

    machine.run()

    message = until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), what="the event arrives")[0]
    event = json.loads(message["Body"])
    assert event["detail-type"] == "Step Functions Execution Status Change"
    assert (event["detail"]["error"], event["detail"]["cause"]) == ("No", "because")
    metrics = aws.client("cloudwatch").list_metrics(Namespace="AWS/States", MetricName="ExecutionsFailed")["Metrics"]
    assert [{"Name": "StateMachineArn", "Value": machine.arn}] in [metric["Dimensions"] for metric in metrics]


def test_a_name_starts_one_execution_only(aws: Instance) -> None:
    machine = Machine(aws, {"Wait": {"Type": "Pass", "End": True}})
    aws.states.start_execution(stateMachineArn=machine.arn, name="once", input="{}")

    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        aws.states.start_execution(stateMachineArn=machine.arn, name="once", input='{"other": 1}')
