"""What is different about a job whose container is a process of this machine."""

import json

import psutil
import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import until
from tests.conformance.embedded import Instance, alive
from tests.conformance.machine import Machine


@pytest.fixture(scope="module")
def queue(aws: Instance) -> str:
    return aws.queue()


def test_a_job_sees_the_variables_of_its_image_and_only_this_aws(aws: Instance, queue: str) -> None:
    names = ["AWS_ENDPOINT_URL", "AWS_REGION", "GREETING", "PYTHONPATH", "NOT_CARRIED_OVER"]

    seen = json.loads(aws.lines(aws.end(aws.submit(aws.definition("environment", *names), queue)))[0])

    assert (seen["AWS_ENDPOINT_URL"], seen["AWS_REGION"]) == (aws.url, "us-east-1")
    assert seen["GREETING"] == "hello there"
    assert seen["PYTHONPATH"].startswith(str(aws.assembly))
    assert seen["NOT_CARRIED_OVER"] is None


def test_the_children_of_a_job_end_with_it(aws: Instance, queue: str) -> None:
    job_id = aws.submit(aws.definition("parent"), queue)
    aws.says(job_id, "sleeping")
    family = [
        process.pid
        for process in psutil.Process(aws.process.pid).children(recursive=True)
        if process.environ().get("AWS_BATCH_JOB_ID") == job_id
    ]

    aws.batch.terminate_job(jobId=job_id, reason="enough")
    aws.end(job_id)

    assert len(family) == 2
    until(lambda: not any(alive(pid) for pid in family), what="parent and child end")


def test_a_gpu_needs_an_environment_that_has_them(aws: Instance) -> None:
    queue = aws.queue(aws.environment(instanceTypes=["c6i.large"]))
    with_gpu = {"resourceRequirements": [{"type": "GPU", "value": "1"}]}

    job = aws.job(aws.submit(aws.definition("say", "x"), queue, containerOverrides=with_gpu))

    assert job["status"] == "RUNNABLE"
    assert job["statusReason"].startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")


def test_what_is_not_emulated_is_refused(aws: Instance, queue: str) -> None:
    with pytest.raises(ClientError, match="arrayProperties is not emulated"):
        aws.submit(aws.definition("say", "x"), queue, arrayProperties={"size": 2})


def test_waits_are_shorter_than_in_an_account(aws: Instance) -> None:
    wait = {"Type": "Wait", "Seconds": "{% $states.input.seconds %}", "End": True}

    description = Machine(aws, {"Wait": wait}).run({"seconds": 10})

    assert (description["stopDate"] - description["startDate"]).total_seconds() < 5
