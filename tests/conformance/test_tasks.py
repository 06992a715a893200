"""What the tasks of a state machine call: jobs, objects, endpoints."""

import json
from typing import Any

import pytest

from tests.conformance.account import Account
from tests.conformance.machine import Machine, task

SYNC = "arn:aws:states:::batch:submitJob.sync"


def job_state(aws: Account, queue: str, *command: str, **fields: Any) -> dict[str, Any]:
    arguments = {"JobName": "from-states", "JobQueue": queue, "JobDefinition": aws.definition(*command)}
    return task(SYNC, arguments, **fields)


@pytest.mark.page("step-functions/latest/dg/connect-batch.html")
def test_a_job_is_waited_for_and_its_description_is_the_result(aws: Account, queue: str) -> None:
    state = job_state(aws, queue, "say", "Ref::word")
    state["Arguments"]["Parameters"] = {"word": "{% $states.input.word %}"}
    state["Arguments"]["ContainerOverrides"] = {"Environment": [{"Name": "COLOUR", "Value": "blue"}]}

    job = Machine(aws, {"Train": state}).output({"word": "hello"})

    assert (job["Status"], job["Container"]["ExitCode"]) == ("SUCCEEDED", 0)
    assert job["Parameters"] == {"word": "hello"}
    assert job["Container"]["Environment"] == [{"Name": "COLOUR", "Value": "blue"}]
    assert aws.lines(aws.job(job["JobId"])) == ["hello"]


@pytest.mark.page("step-functions/latest/dg/concepts-error-handling.html")
def test_a_failed_job_is_task_failed_with_the_job_as_its_cause(aws: Account, queue: str) -> None:
    description = Machine(aws, {"Train": job_state(aws, queue, "exit", "3")}).run()

    assert (description["status"], description["error"]) == ("FAILED", "States.TaskFailed")
    cause = json.loads(description["cause"])
    assert (cause["Status"], cause["Container"]["ExitCode"], len(cause["Attempts"])) == ("FAILED", 3, 1)
    assert "output" not in description


@pytest.mark.page("step-functions/latest/dg/connect-batch.html")
def test_a_refused_submission_is_a_client_exception(aws: Account) -> None:
    arguments = {"JobName": "job", "JobQueue": "nowhere", "JobDefinition": "nothing"}

    description = Machine(aws, {"Train": task(SYNC, arguments)}).run()

    assert description["error"] == "Batch.ClientException"
    assert "nowhere" in description["cause"]
    assert "Service: Batch, Status Code: 400" in description["cause"]


@pytest.mark.page("step-functions/latest/dg/connect-to-resource.html")
def test_stopping_the_execution_terminates_its_job(aws: Account, queue: str) -> None:
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


@pytest.mark.page("step-functions/latest/dg/connect-to-resource.html")
def test_stopping_also_ends_jobs_within_a_map(aws: Account, queue: str) -> None:
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

    jobs = aws.until(
        lambda: jobs if len(jobs := machine.jobs_of(execution)) == 2 else None, what="both jobs are submitted"
    )
    for job_id in jobs:
        aws.says(job_id, "training")
    aws.states.stop_execution(executionArn=execution)

    assert {aws.end(job_id)["status"] for job_id in jobs} == {"FAILED"}
    assert machine.end(execution)["status"] == "ABORTED"
    assert "After" not in json.dumps(machine.history(execution), default=str)


@pytest.mark.page("step-functions/latest/dg/connect-to-resource.html")
@pytest.mark.parametrize("limited", ["execution", "state"])
def test_a_time_limit_terminates_the_job(aws: Account, queue: str, limited: str) -> None:
    limit = {"TimeoutSeconds": aws.shortest_attempt}
    state = job_state(aws, queue, "graceful", **(limit if limited == "state" else {}))
    machine = Machine(aws, {"Train": state}, **(limit if limited == "execution" else {}))
    execution = machine.start()

    job = aws.end(machine.job_of(execution))
    description = machine.end(execution)

    assert job["status"] == "FAILED"
    assert description["error"] == "States.Timeout"
    assert description["status"] == ("TIMED_OUT" if limited == "execution" else "FAILED")


@pytest.mark.page("step-functions/latest/dg/state-map-inline.html")
def test_the_first_failure_in_a_map_ends_the_other_iterations(aws: Account, queue: str) -> None:
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
    assert {aws.end(job_id)["status"] for job_id in machine.jobs_of(execution)} <= {"FAILED"}


@pytest.mark.page("step-functions/latest/dg/supported-services-awssdk.html")
def test_objects_are_read_as_text_and_written_from_json(aws: Account) -> None:
    bucket = aws.bucket()
    place = {"Bucket": bucket, "Key": "verdict.json"}
    write = task("arn:aws:states:::aws-sdk:s3:putObject", {**place, "Body": "{% $states.input %}"}, Next="Read")
    read = task(
        "arn:aws:states:::aws-sdk:s3:getObject", place, Output="{% $parse($states.result.Body).mean.value + 1 %}"
    )

    assert Machine(aws, {"Write": write, "Read": read}).output({"mean": {"value": 41}}) == 42
    assert aws.s3.get_object(**place)["Body"].read() == b'{"mean":{"value":41}}'


@pytest.mark.page("step-functions/latest/dg/supported-services-awssdk.html")
def test_a_missing_object_is_an_error_with_a_name(aws: Account) -> None:
    bucket = aws.bucket()

    description = Machine(
        aws, {"Read": task("arn:aws:states:::aws-sdk:s3:getObject", {"Bucket": bucket, "Key": "nothing"})}
    ).run()

    assert description["error"] == "S3.NoSuchKeyException"


@pytest.mark.page("step-functions/latest/dg/supported-services-awssdk.html")
def test_sagemaker_is_called_and_its_errors_have_the_names_of_the_sdk(aws: Account) -> None:
    endpoint = aws.endpoint(aws.model("x"))
    call = "arn:aws:states:::aws-sdk:sagemaker:"

    found = Machine(aws, {"Find": task(f"{call}describeEndpoint", {"EndpointName": endpoint})}).output()
    missing = Machine(aws, {"Find": task(f"{call}describeEndpoint", {"EndpointName": "nobody"})}).run()

    assert (found["EndpointName"], found["EndpointStatus"]) == (endpoint, "InService")
    assert isinstance(found["CreationTime"], str)
    assert missing["error"] == "SageMaker.SageMakerException"
    assert "Could not find endpoint" in missing["cause"]


@pytest.mark.page("step-functions/latest/dg/supported-services-awssdk.html")
def test_batch_is_called_by_the_sdk_integration(aws: Account, queue: str) -> None:
    job_id = aws.submit(aws.definition("say", "x"), queue)

    answer = Machine(
        aws, {"Describe": task("arn:aws:states:::aws-sdk:batch:describeJobs", {"Jobs": [job_id]})}
    ).output()

    assert answer["Jobs"][0]["JobId"] == job_id
