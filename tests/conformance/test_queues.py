"""Job queues and compute environments of AWS Batch."""

import pytest

from tests.conformance.account import Account


@pytest.mark.page("batch/latest/userguide/job_queue_parameters.html")
def test_what_does_not_fit_waits_its_turn(aws: Account) -> None:
    queue = aws.queue(aws.environment(maxvCpus=2))
    definition = aws.definition("sleep", aws.a_while)
    jobs = [aws.submit(definition, queue) for _ in range(4)]

    aws.until(lambda: [aws.job(job)["status"] for job in jobs[:2]] == ["RUNNING", "RUNNING"], what="two run")
    assert [aws.job(job)["status"] for job in jobs[2:]] == ["RUNNABLE", "RUNNABLE"]

    ended = [aws.end(job) for job in jobs]
    assert {job["status"] for job in ended} == {"SUCCEEDED"}
    assert ended[2]["startedAt"] >= min(job["stoppedAt"] for job in ended[:2])


@pytest.mark.page("batch/latest/userguide/job_scheduling.html")
def test_first_in_first_out_holds_back_a_small_job_behind_a_large_one(aws: Account) -> None:
    queue = aws.queue(aws.environment(maxvCpus=2))
    large = [{"type": "VCPU", "value": "2"}]
    first = aws.submit(aws.definition("sleep", aws.a_while), queue)
    second = aws.submit(aws.definition("say", "x", container={"resourceRequirements": large}), queue)
    third = aws.submit(aws.definition("say", "x"), queue)

    assert aws.job(third)["status"] == "RUNNABLE", "one vCPU is free, but another job is before it"
    assert aws.end(first)["stoppedAt"] <= aws.end(second)["startedAt"] <= aws.end(third)["startedAt"]


@pytest.mark.page("batch/latest/userguide/job_stuck_in_runnable.html")
def test_a_job_that_can_never_fit_stays_runnable_and_says_why(aws: Account) -> None:
    queue = aws.queue(aws.environment(maxvCpus=2))
    too_large = aws.submit(
        aws.definition("say", "x", container={"resourceRequirements": [{"type": "VCPU", "value": "4"}]}), queue
    )

    job = aws.until(
        lambda: job if "statusReason" in (job := aws.job(too_large)) else None,
        what="the job says why it waits",
        seconds=aws.until_stuck,
    )

    assert job["status"] == "RUNNABLE"
    assert job["statusReason"].startswith("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE")


@pytest.mark.page("batch/latest/userguide/batch-job-queue-blocked-events.html")
def test_a_job_that_blocks_its_queue_is_an_event(aws: Account) -> None:
    queue = aws.queue(aws.environment(maxvCpus=2))
    events = aws.listener({"detail-type": ["Batch Job Queue Blocked"], "detail": {"jobQueue": [queue]}})
    job = aws.submit(
        aws.definition("say", "x", container={"resourceRequirements": [{"type": "VCPU", "value": "4"}]}), queue
    )
    [event] = aws.until(events, what="the queue is said to be blocked", seconds=aws.until_stuck)
    assert event["source"] == "aws.batch"
    assert event["resources"] == [event["detail"]["jobArn"], queue]
    assert (event["detail"]["jobId"], event["detail"]["status"]) == (job, "RUNNABLE")
    assert event["detail"]["statusReason"].startswith("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE")


@pytest.mark.page("batch/latest/userguide/job_queue_parameters.html")
def test_a_queue_uses_its_environments_in_order(aws: Account) -> None:
    first, next_best = aws.environment(maxvCpus=1), aws.environment(maxvCpus=1)
    queue = aws.queue(first, next_best)
    definition = aws.definition("environment", "AWS_BATCH_CE_NAME")
    slow = aws.definition("sleep", aws.a_while)

    blocking = aws.submit(slow, queue)
    second = aws.end(aws.submit(definition, queue))
    aws.end(blocking)
    third = aws.end(aws.submit(definition, queue))

    assert next_best.rpartition("/")[2] in aws.lines(second)[0]
    assert first.rpartition("/")[2] in aws.lines(third)[0]


@pytest.mark.page("batch/latest/APIReference/API_UpdateComputeEnvironment.html")
def test_more_capacity_starts_what_waits(aws: Account) -> None:
    environment = aws.environment(maxvCpus=1)
    queue = aws.queue(environment)
    need = {"resourceRequirements": [{"type": "VCPU", "value": "2"}]}
    job = aws.submit(aws.definition("say", "x", container=need), queue)
    assert aws.job(job)["status"] == "RUNNABLE"

    aws.batch.update_compute_environment(computeEnvironment=environment, computeResources={"maxvCpus": 2})

    assert aws.end(job)["status"] == "SUCCEEDED"


@pytest.mark.page("batch/latest/userguide/job_stuck_in_runnable.html")
def test_a_queue_can_cancel_what_blocks_it(aws: Account) -> None:
    reason = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
    action = {"action": "CANCEL", "state": "RUNNABLE", "reason": reason, "maxTimeSeconds": aws.shortest_stuck}
    queue = aws.queue(aws.environment(maxvCpus=2), jobStateTimeLimitActions=[action])
    too_much = {"resourceRequirements": [{"type": "VCPU", "value": "4"}]}
    blocking = aws.submit(aws.definition("say", "x", container=too_much), queue)
    behind = aws.submit(aws.definition("say", "x"), queue)
    assert aws.job(behind)["status"] == "RUNNABLE"

    cancelled = aws.until(
        lambda: job if (job := aws.job(blocking))["status"] == "FAILED" else None,
        what="the queue cancels it",
        seconds=2 * aws.until_stuck,
    )

    assert (cancelled["status"], cancelled["attempts"]) == ("FAILED", [])
    assert reason in cancelled["statusReason"]
    assert aws.end(behind)["status"] == "SUCCEEDED"
