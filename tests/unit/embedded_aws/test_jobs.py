"""Batch jobs: https://docs.aws.amazon.com/batch/latest/userguide/jobs.html"""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.unit.embedded_aws.instance import Instance, alive, unique, until


def test_a_job_runs_its_command_and_its_output_is_in_the_log(aws: Instance, queue: str) -> None:
    job = aws.end(aws.submit(aws.definition("say", "hello", "world"), queue))

    assert job["status"] == "SUCCEEDED"
    assert job["statusReason"] == "Essential container in task exited"
    assert job["container"]["exitCode"] == 0
    assert job["container"]["command"] == ["say", "hello", "world"]
    assert aws.lines(job) == ["hello world"]
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]


def test_parameters_and_overrides_reach_the_container(aws: Instance, queue: str) -> None:
    definition = aws.definition(
        "environment",
        "Ref::what",
        parameters={"what": "REPLACED"},
        container={"environment": [{"name": "COLOUR", "value": "red"}, {"name": "SIZE", "value": "small"}]},
    )

    plain = aws.submit(definition, queue, parameters={"what": "COLOUR"})
    overridden = aws.submit(
        definition,
        queue,
        containerOverrides={
            "command": ["environment", "COLOUR", "SIZE", "Ref::missing"],
            "environment": [{"name": "COLOUR", "value": "blue"}],
        },
    )

    assert json.loads(aws.lines(aws.end(plain))[0]) == {"COLOUR": "red"}
    answer = json.loads(aws.lines(aws.end(overridden))[0])
    assert answer == {"COLOUR": "blue", "SIZE": "small", "Ref::missing": None}


def test_a_container_sees_the_batch_variables_its_image_and_only_this_aws(aws: Instance, queue: str) -> None:
    names = ["AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ATTEMPT", "AWS_BATCH_JQ_NAME", "AWS_ENDPOINT_URL", "AWS_REGION"]
    image = ["GREETING", "PYTHONPATH", "NOT_CARRIED_OVER"]
    job_id = aws.submit(aws.definition("environment", *names, *image), queue)

    seen = json.loads(aws.lines(aws.end(job_id))[0])

    assert seen["AWS_BATCH_JOB_ID"] == job_id
    assert seen["AWS_BATCH_JOB_ATTEMPT"] == "1"
    assert seen["AWS_BATCH_JQ_NAME"] == queue.rpartition("/")[2]
    assert (seen["AWS_ENDPOINT_URL"], seen["AWS_REGION"]) == (aws.url, "us-east-1")
    assert seen["GREETING"] == "hello there"
    assert seen["PYTHONPATH"].startswith(str(aws.assembly))
    assert seen["NOT_CARRIED_OVER"] is None


def test_lines_are_in_the_log_while_the_job_runs(aws: Instance, queue: str) -> None:
    job_id = aws.submit(aws.definition("slowly", "first", "second", "third"), queue)

    running = aws.says(job_id, "first")

    assert "third" not in aws.lines(running)
    assert aws.lines(aws.end(job_id)) == ["first", "second", "third"]


def test_the_log_group_and_stream_are_those_of_the_definition(aws: Instance, queue: str) -> None:
    group = unique("/jobs")
    log = {"logDriver": "awslogs", "options": {"awslogs-group": group, "awslogs-stream-prefix": "train"}}
    definition = aws.definition("say", "x", container={"logConfiguration": log})

    without_group = aws.end(aws.submit(definition, queue))
    aws.logs.create_log_group(logGroupName=group)
    job = aws.end(aws.submit(definition, queue))

    assert without_group["status"] == "FAILED"
    assert group in without_group["container"]["reason"]
    assert job["container"]["logStreamName"].startswith("train/default/")
    assert aws.lines_of(group, job["container"]["logStreamName"]) == ["x"]


def test_an_exit_code_fails_the_job(aws: Instance, queue: str) -> None:
    job = aws.end(aws.submit(aws.definition("exit", "3"), queue))

    assert (job["status"], job["container"]["exitCode"], len(job["attempts"])) == ("FAILED", 3, 1)


def test_attempts_follow_evaluate_on_exit(aws: Instance, queue: str) -> None:
    strategy = {
        "attempts": 3,
        "evaluateOnExit": [{"onExitCode": "75", "action": "RETRY"}, {"onReason": "*", "action": "EXIT"}],
    }

    interrupted = aws.end(aws.submit(aws.definition("second-time", retryStrategy=strategy), queue))
    wrong = aws.end(aws.submit(aws.definition("exit", "1", retryStrategy=strategy), queue))
    always = aws.end(aws.submit(aws.definition("exit", "75"), queue, retryStrategy=strategy))

    assert interrupted["status"] == "SUCCEEDED"
    assert [attempt["container"]["exitCode"] for attempt in interrupted["attempts"]] == [75, 0]
    assert len({attempt["container"]["logStreamName"] for attempt in interrupted["attempts"]}) == 2
    assert (wrong["status"], len(wrong["attempts"])) == ("FAILED", 1)
    assert (always["status"], len(always["attempts"])) == ("FAILED", 3)


def test_an_image_that_no_assembly_has_cannot_be_pulled(aws: Instance, queue: str) -> None:
    strategy = {"attempts": 2, "evaluateOnExit": [{"onReason": "CannotPullContainerError:*", "action": "RETRY"}]}
    definition = aws.definition(container={"image": f"repository:{'0' * 64}"}, retryStrategy=strategy)

    job = aws.end(aws.submit(definition, queue))

    assert job["status"] == "FAILED"
    assert job["container"]["reason"].startswith("CannotPullContainerError:")
    assert len(job["attempts"]) == 2
    assert "exitCode" not in job["container"]


def test_a_terminated_job_may_clean_up_and_is_not_retried(aws: Instance, queue: str) -> None:
    job_id = aws.submit(aws.definition("graceful"), queue, retryStrategy={"attempts": 5})
    aws.says(job_id, "training")

    aws.batch.terminate_job(jobId=job_id, reason="enough")
    job = aws.end(job_id)

    assert (job["status"], job["statusReason"], job["isTerminated"]) == ("FAILED", "enough", True)
    assert (job["container"]["exitCode"], len(job["attempts"])) == (75, 1)
    assert aws.lines(job)[-1] == "checkpointed"


def test_a_job_that_ignores_sigterm_is_killed_after_the_grace_period(aws: Instance, queue: str) -> None:
    job_id = aws.submit(aws.definition("deaf"), queue)
    aws.says(job_id, "working")

    aws.batch.terminate_job(jobId=job_id, reason="enough")
    job = aws.end(job_id)

    assert job["container"]["exitCode"] == 137
    assert "not now" in aws.lines(job)


def test_the_children_of_a_job_end_with_it(aws: Instance, queue: str) -> None:
    import psutil

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


def test_an_attempt_over_its_time_is_terminated_and_not_retried(aws: Instance, queue: str) -> None:
    definition = aws.definition("graceful", timeout={"attemptDurationSeconds": 1}, retryStrategy={"attempts": 3})

    job = aws.end(aws.submit(definition, queue))

    assert (job["status"], len(job["attempts"])) == ("FAILED", 1)
    assert job["statusReason"] == "Job attempt duration exceeded timeout"
    assert aws.lines(job) == ["training", "checkpointed"]


def test_cancel_leaves_running_jobs_alone(aws: Instance) -> None:
    queue = aws.queue(aws.environment(maxvCpus=1))
    definition = aws.definition("graceful")
    running, waiting = aws.submit(definition, queue), aws.submit(definition, queue)
    aws.says(running, "training")

    aws.batch.cancel_job(jobId=running, reason="cancelled")
    aws.batch.cancel_job(jobId=waiting, reason="cancelled")

    cancelled = aws.end(waiting)
    assert (cancelled["status"], cancelled["statusReason"]) == ("FAILED", "cancelled")
    assert cancelled["attempts"] == []
    assert aws.job(running)["status"] == "RUNNING"
    aws.batch.terminate_job(jobId=running, reason="done")


def test_a_job_waits_for_what_it_depends_on(aws: Instance, queue: str) -> None:
    first = aws.submit(aws.definition("sleep", "0.3"), queue)
    second = aws.submit(aws.definition("say", "x"), queue, dependsOn=[{"jobId": first}])
    failing = aws.submit(aws.definition("exit", "1"), queue)
    never = aws.submit(aws.definition("say", "x"), queue, dependsOn=[{"jobId": failing}])

    assert aws.job(second)["status"] == "PENDING"
    assert aws.end(second)["startedAt"] >= aws.job(first)["stoppedAt"]
    assert aws.end(never)["statusReason"] == "Dependent Job failed"


def test_jobs_are_listed_by_name_and_by_state(aws: Instance) -> None:
    queue = aws.queue()
    good, bad = aws.definition("say", "x"), aws.definition("exit", "1")
    for name, definition in (("run-7-seed-0", good), ("run-7-seed-1", bad), ("run-77", good)):
        aws.end(aws.submit(definition, queue, jobName=name))

    def listed(**settings: Any) -> set[str]:
        return {job["jobName"] for job in aws.batch.list_jobs(jobQueue=queue, **settings)["jobSummaryList"]}

    assert listed(filters=[{"name": "JOB_NAME", "values": ["RUN-7-*"]}]) == {"run-7-seed-0", "run-7-seed-1"}
    assert listed(filters=[{"name": "JOB_NAME", "values": ["run-7"]}]) == set()
    assert listed(jobStatus="FAILED") == {"run-7-seed-1"}
    assert listed() == set(), "without a filter only running jobs are listed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jobQueue": "nowhere"}, "Job queue nowhere does not exist"),
        ({"jobDefinition": "nothing"}, "Job definition nothing is not found"),
        ({"jobName": "no spaces"}, "jobName should match valid pattern"),
        ({"timeout": {"attemptDurationSeconds": 0}}, "attemptDurationSeconds must be at least 1; given: 0"),
        ({"retryStrategy": {"attempts": 11}}, "attempts must be between 1 and 10; given: 11"),
        ({"arrayProperties": {"size": 2}}, "arrayProperties is not emulated"),
    ],
)
def test_a_wrong_submission_is_refused(aws: Instance, queue: str, change: dict[str, Any], message: str) -> None:
    request = {"jobName": "job", "jobQueue": queue, "jobDefinition": aws.definition("say", "x"), **change}

    with pytest.raises(ClientError, match="ClientException") as refusal:
        aws.batch.submit_job(**request)

    assert message in str(refusal.value)


def test_each_registration_is_a_revision_and_an_inactive_one_takes_no_jobs(aws: Instance, queue: str) -> None:
    first = aws.definition("say", "one")
    name = first.rpartition("/")[2].partition(":")[0]
    second = aws.batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties={"image": aws.job_image, "command": ["say", "two"]},
    )["jobDefinitionArn"]

    assert (first.rpartition(":")[2], second.rpartition(":")[2]) == ("1", "2")
    assert aws.lines(aws.end(aws.submit(name, queue))) == ["two"]
    assert aws.lines(aws.end(aws.submit(first, queue))) == ["one"]

    aws.batch.deregister_job_definition(jobDefinition=second)

    assert aws.lines(aws.end(aws.submit(name, queue))) == ["one"]
    with pytest.raises(ClientError, match="not in ACTIVE status"):
        aws.submit(second, queue)


def test_changes_of_state_are_events(aws: Instance, queue: str) -> None:
    events, sqs, name = aws.client("events"), aws.client("sqs"), unique("changes")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    pattern = {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"], "detail": {"jobName": [name]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": f"arn:aws:sqs:us-east-1:000000000000:{name}"}])

    aws.end(aws.submit(aws.definition("say", "x"), queue, jobName=name))

    states: list[str] = []

    def collected() -> bool:
        messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
            states.append(json.loads(message["Body"])["detail"]["status"])
        return "SUCCEEDED" in states

    until(collected, what="the job's events arrive")
    assert states == ["SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
