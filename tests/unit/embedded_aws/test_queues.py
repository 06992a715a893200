"""Job queues and compute environments: https://docs.aws.amazon.com/batch/latest/userguide/job_queues.html"""

from tests.unit.embedded_aws.instance import Instance, until


def test_what_does_not_fit_waits_its_turn(aws: Instance) -> None:
    queue = aws.queue(aws.environment(maxvCpus=2))
    definition = aws.definition("sleep", "0.4")
    jobs = [aws.submit(definition, queue) for _ in range(4)]

    until(lambda: [aws.job(job)["status"] for job in jobs[:2]] == ["RUNNING", "RUNNING"], what="two run")
    assert [aws.job(job)["status"] for job in jobs[2:]] == ["RUNNABLE", "RUNNABLE"]

    ended = [aws.end(job) for job in jobs]
    assert {job["status"] for job in ended} == {"SUCCEEDED"}
    assert ended[2]["startedAt"] >= min(job["stoppedAt"] for job in ended[:2])


def test_first_in_first_out_holds_back_a_small_job_behind_a_large_one(aws: Instance) -> None:
    queue = aws.queue(aws.environment(maxvCpus=2))
    large = [{"type": "VCPU", "value": "2"}]
    first = aws.submit(aws.definition("sleep", "0.3"), queue)
    second = aws.submit(aws.definition("say", "x", container={"resourceRequirements": large}), queue)
    third = aws.submit(aws.definition("say", "x"), queue)

    assert aws.job(third)["status"] == "RUNNABLE", "one vCPU is free, but another job is before it"
    assert aws.end(first)["stoppedAt"] <= aws.end(second)["startedAt"] <= aws.end(third)["startedAt"]


def test_a_job_that_can_never_fit_stays_runnable_and_says_why(aws: Instance) -> None:
    queue = aws.queue(aws.environment(maxvCpus=2, instanceTypes=["c6i.large"]))
    too_large = aws.submit(
        aws.definition("say", "x", container={"resourceRequirements": [{"type": "VCPU", "value": "4"}]}), queue
    )
    job = aws.job(too_large)
    aws.batch.terminate_job(jobId=too_large, reason="never")
    with_gpu = aws.job(
        aws.submit(
            aws.definition("say", "x"),
            queue,
            containerOverrides={"resourceRequirements": [{"type": "GPU", "value": "1"}]},
        )
    )

    assert (job["status"], with_gpu["status"]) == ("RUNNABLE", "RUNNABLE")
    assert job["statusReason"].startswith("MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE")
    assert with_gpu["statusReason"].startswith("MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT")
    assert aws.job(too_large)["status"] == "FAILED"


def test_a_queue_uses_its_environments_in_order(aws: Instance) -> None:
    spot, on_demand = aws.environment(maxvCpus=1, type="SPOT"), aws.environment(maxvCpus=1)
    queue = aws.queue(spot, on_demand)
    definition = aws.definition("environment", "AWS_BATCH_CE_NAME")
    slow = aws.definition("sleep", "0.4")

    blocking = aws.submit(slow, queue)
    second = aws.end(aws.submit(definition, queue))
    aws.end(blocking)
    third = aws.end(aws.submit(definition, queue))

    assert on_demand.rpartition("/")[2] in aws.lines(second)[0]
    assert spot.rpartition("/")[2] in aws.lines(third)[0]


def test_more_capacity_starts_what_waits(aws: Instance) -> None:
    environment = aws.environment(maxvCpus=1)
    queue = aws.queue(environment)
    need = {"resourceRequirements": [{"type": "VCPU", "value": "2"}]}
    job = aws.submit(aws.definition("say", "x", container=need), queue)
    assert aws.job(job)["status"] == "RUNNABLE"

    aws.batch.update_compute_environment(computeEnvironment=environment, computeResources={"maxvCpus": 2})

    assert aws.end(job)["status"] == "SUCCEEDED"


def test_a_queue_can_cancel_what_blocks_it(aws: Instance) -> None:
    reason = "MISCONFIGURATION:COMPUTE_ENVIRONMENT_MAX_RESOURCE"
    action = {"action": "CANCEL", "state": "RUNNABLE", "reason": reason, "maxTimeSeconds": 1}
    queue = aws.queue(aws.environment(maxvCpus=2), jobStateTimeLimitActions=[action])
    too_much = {"resourceRequirements": [{"type": "VCPU", "value": "4"}]}
    blocking = aws.submit(aws.definition("say", "x", container=too_much), queue)
    behind = aws.submit(aws.definition("say", "x"), queue)
    assert aws.job(behind)["status"] == "RUNNABLE"

    cancelled = aws.end(blocking)

    assert (cancelled["status"], cancelled["attempts"]) == ("FAILED", [])
    assert reason in cancelled["statusReason"]
    assert aws.end(behind)["status"] == "SUCCEEDED"
