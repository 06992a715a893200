"""Batch jobs: https://docs.aws.amazon.com/batch/latest/userguide/jobs.html"""

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account, unique


@pytest.mark.page("batch/latest/userguide/using_awslogs.html")
def test_a_job_runs_its_command_and_its_output_is_in_the_log(aws: Account, queue: str) -> None:
    job = aws.end(aws.submit(aws.definition("say", "hello", "world"), queue))

    assert job["status"] == "SUCCEEDED"
    assert job["statusReason"] == "Essential container in task exited"
    assert job["container"]["exitCode"] == 0
    assert job["container"]["command"][-3:] == ["say", "hello", "world"]
    assert aws.lines(job) == ["hello world"]
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]


@pytest.mark.page("batch/latest/userguide/job_definition_parameters.html")
def test_parameters_and_overrides_reach_the_container(aws: Account, queue: str) -> None:
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
            "command": aws.job_container("environment", "COLOUR", "SIZE", "Ref::missing")["command"],
            "environment": [{"name": "COLOUR", "value": "blue"}],
        },
    )

    assert json.loads(aws.lines(aws.end(plain))[0]) == {"COLOUR": "red"}
    answer = json.loads(aws.lines(aws.end(overridden))[0])
    assert answer == {"COLOUR": "blue", "SIZE": "small", "Ref::missing": None}


@pytest.mark.page("batch/latest/userguide/using_awslogs.html")
def test_lines_are_in_the_log_while_the_job_runs(aws: Account, queue: str) -> None:
    job_id = aws.submit(aws.definition("slowly", "first", "second", "third"), queue)

    running = aws.says(job_id, "first")

    assert "third" not in aws.lines(running)
    assert aws.lines(aws.end(job_id)) == ["first", "second", "third"]


@pytest.mark.page("batch/latest/userguide/using_awslogs.html")
def test_the_log_group_and_stream_are_those_of_the_definition(aws: Account, queue: str) -> None:
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


@pytest.mark.page("batch/latest/userguide/job_states.html")
def test_an_exit_code_fails_the_job(aws: Account, queue: str) -> None:
    job = aws.end(aws.submit(aws.definition("exit", "3"), queue))

    assert (job["status"], job["container"]["exitCode"], len(job["attempts"])) == ("FAILED", 3, 1)


@pytest.mark.page("batch/latest/userguide/job_env_vars.html")
def test_a_container_is_told_its_job_attempt_and_queue(aws: Account, queue: str) -> None:
    names = ["AWS_BATCH_JOB_ID", "AWS_BATCH_JOB_ATTEMPT", "AWS_BATCH_JQ_NAME"]
    job_id = aws.submit(aws.definition("environment", *names), queue)

    seen = json.loads(aws.lines(aws.end(job_id))[0])

    assert seen == dict(zip(names, [job_id, "1", queue.rpartition("/")[2]], strict=True))


@pytest.mark.page("batch/latest/userguide/job_retries.html")
def test_attempts_follow_evaluate_on_exit(aws: Account, queue: str) -> None:
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


@pytest.mark.page("batch/latest/userguide/job_retries.html")
@pytest.mark.parametrize(
    ("entries", "attempts"),
    [
        ([{"onExitCode": "3", "action": "EXIT"}, {"onExitCode": "*", "action": "RETRY"}], 1),
        ([{"onExitCode": "*", "action": "RETRY"}, {"onExitCode": "3", "action": "EXIT"}], 2),
        ([{"onExitCode": "4", "action": "EXIT"}], 2),
        ([{"onExitCode": "3", "onReason": "OutOfMemory*", "action": "EXIT"}], 2),
        ([{"onExitCode": "3", "onStatusReason": "essential container*", "action": "exit"}], 1),
    ],
    ids=[
        "the first that matches",
        "whatever follows it",
        "no match means retry",
        "all conditions",
        "case and asterisk",
    ],
)
def test_the_first_entry_of_which_all_conditions_match_decides(
    aws: Account, queue: str, entries: list[dict[str, str]], attempts: int
) -> None:
    strategy = {"attempts": 2, "evaluateOnExit": entries}

    job = aws.end(aws.submit(aws.definition("exit", "3"), queue, retryStrategy=strategy))

    assert (job["status"], len(job["attempts"])) == ("FAILED", attempts)


@pytest.mark.page("batch/latest/userguide/job_states.html")
def test_an_image_that_does_not_exist_cannot_be_pulled(aws: Account, queue: str) -> None:
    strategy = {"attempts": 2, "evaluateOnExit": [{"onReason": "CannotPullContainerError:*", "action": "RETRY"}]}
    image = f"public.ecr.aws/docker/library/python:{'0' * 64}"
    definition = aws.definition("say", "x", container={"image": image}, retryStrategy=strategy)

    job = aws.end(aws.submit(definition, queue))

    assert job["status"] == "FAILED"
    assert job["container"]["reason"].startswith("CannotPullContainerError:")
    assert len(job["attempts"]) == 2
    assert "exitCode" not in job["container"]


@pytest.mark.page("batch/latest/APIReference/API_TerminateJob.html")
def test_a_terminated_job_may_clean_up_and_is_not_retried(aws: Account, queue: str) -> None:
    job_id = aws.submit(aws.definition("graceful"), queue, retryStrategy={"attempts": 5})
    aws.says(job_id, "training")

    aws.batch.terminate_job(jobId=job_id, reason="enough")
    job = aws.end(job_id)

    assert (job["status"], job["statusReason"], job["isTerminated"]) == ("FAILED", "enough", True)
    assert (job["container"]["exitCode"], len(job["attempts"])) == (75, 1)
    assert aws.lines(job)[-1] == "checkpointed"


@pytest.mark.page("batch/latest/userguide/job_timeouts.html")
def test_a_job_that_ignores_sigterm_is_killed_after_the_grace_period(aws: Account, queue: str) -> None:
    job_id = aws.submit(aws.definition("deaf"), queue)
    aws.says(job_id, "working")

    aws.batch.terminate_job(jobId=job_id, reason="enough")
    job = aws.end(job_id)

    assert job["container"]["exitCode"] == 137
    assert "not now" in aws.lines(job)


@pytest.mark.page("batch/latest/userguide/job_timeouts.html")
def test_an_attempt_over_its_time_is_terminated_and_not_retried(aws: Account, queue: str) -> None:
    definition = aws.definition(
        "graceful", timeout={"attemptDurationSeconds": aws.shortest_attempt}, retryStrategy={"attempts": 3}
    )

    job = aws.end(aws.submit(definition, queue))

    assert (job["status"], len(job["attempts"])) == ("FAILED", 1)
    assert job["statusReason"] == "Job attempt duration exceeded timeout"
    assert aws.lines(job) == ["training", "checkpointed"]


@pytest.mark.page("batch/latest/APIReference/API_TerminateJob.html")
def test_a_waiting_job_that_is_terminated_never_runs(aws: Account) -> None:
    queue = aws.queue(aws.environment(maxvCpus=1))
    definition = aws.definition("graceful")
    running, waiting = aws.submit(definition, queue), aws.submit(definition, queue)
    aws.says(running, "training")

    aws.batch.terminate_job(jobId=waiting, reason="enough")
    aws.batch.terminate_job(jobId=running, reason="done")

    job = aws.end(waiting)
    assert (job["status"], job["statusReason"], job["attempts"]) == ("FAILED", "enough", [])


@pytest.mark.page("batch/latest/APIReference/API_CancelJob.html")
def test_cancel_leaves_running_jobs_alone(aws: Account) -> None:
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


@pytest.mark.page("batch/latest/userguide/job_dependencies.html")
def test_a_job_waits_for_what_it_depends_on(aws: Account, queue: str) -> None:
    first = aws.submit(aws.definition("sleep", aws.a_while), queue)
    second = aws.submit(aws.definition("say", "x"), queue, dependsOn=[{"jobId": first}])
    failing = aws.submit(aws.definition("exit", "1"), queue)
    never = aws.submit(aws.definition("say", "x"), queue, dependsOn=[{"jobId": failing}])

    assert aws.job(second)["status"] == "PENDING"
    assert aws.end(second)["startedAt"] >= aws.job(first)["stoppedAt"]
    assert aws.end(never)["statusReason"] == "Dependent Job failed"


@pytest.mark.page("batch/latest/APIReference/API_ListJobs.html")
def test_jobs_are_listed_by_name_and_by_state(aws: Account) -> None:
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


@pytest.mark.page("batch/latest/APIReference/API_SubmitJob.html")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"jobQueue": "nowhere"}, "nowhere"),
        ({"jobDefinition": "nothing"}, "nothing"),
        ({"jobName": "no spaces"}, "jobName"),
        ({"timeout": {"attemptDurationSeconds": 0}}, "attemptDurationSeconds"),
        ({"retryStrategy": {"attempts": 11}}, "attempts"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "AGAIN"}]}}, "AGAIN"),
        ({"retryStrategy": {"attempts": 2, "evaluateOnExit": [{"action": "EXIT", "onExitCode": "*5"}]}}, "*5"),
    ],
)
def test_a_wrong_submission_is_refused(aws: Account, queue: str, change: dict[str, Any], message: str) -> None:
    request = {"jobName": "job", "jobQueue": queue, "jobDefinition": aws.definition("say", "x"), **change}

    with pytest.raises(ClientError, match="ClientException") as refusal:
        aws.batch.submit_job(**request)

    assert message in str(refusal.value)


@pytest.mark.page("batch/latest/APIReference/API_DeregisterJobDefinition.html")
def test_each_registration_is_a_revision_and_an_inactive_one_takes_no_jobs(aws: Account, queue: str) -> None:
    first = aws.definition("say", "one")
    name = first.rpartition("/")[2].partition(":")[0]
    second = aws.batch.register_job_definition(
        jobDefinitionName=name,
        type="container",
        containerProperties=aws.job_container("say", "two"),
    )["jobDefinitionArn"]

    assert (first.rpartition(":")[2], second.rpartition(":")[2]) == ("1", "2")
    assert aws.lines(aws.end(aws.submit(name, queue))) == ["two"]
    assert aws.lines(aws.end(aws.submit(first, queue))) == ["one"]

    aws.batch.deregister_job_definition(jobDefinition=second)

    assert aws.lines(aws.end(aws.submit(name, queue))) == ["one"]
    with pytest.raises(ClientError, match="not in ACTIVE status"):
        aws.submit(second, queue)


@pytest.mark.page("batch/latest/userguide/batch_cwe_events.html")
def test_changes_of_state_are_events(aws: Account, queue: str) -> None:
    name = unique("changes")
    heard = aws.listener(
        {"source": ["aws.batch"], "detail-type": ["Batch Job State Change"], "detail": {"jobName": [name]}}
    )
    job_id = aws.submit(aws.definition("say", "x"), queue, jobName=name)
    aws.end(job_id)
    details: list[dict[str, Any]] = []

    def collected() -> bool:
        details.extend(event["detail"] for event in heard())
        return "SUCCEEDED" in [detail["status"] for detail in details]

    aws.until(collected, what="the job's events arrive")
    # At least once and in no certain order, as EventBridge promises.
    assert {detail["status"] for detail in details} == {
        *("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED")
    }
    assert {(detail["jobId"], detail["jobQueue"]) for detail in details} == {(job_id, queue)}
