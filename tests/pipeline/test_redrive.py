"""A failed run goes on from the step that failed, on the deployed stacks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from contract.control import Phase
from contract.layout import RunLayout
from contract.outcomes import Outcome
from tests.pipeline.faults import DIES, broken_serving
from tests.pipeline.laptop import QUICK, Laptop, until
from tests.pipeline.test_control import explained, package_of

CRASH = "raise SystemExit('the disk is on fire')\n"


def entered(laptop: Laptop, run_id: str) -> list[str]:
    """The states that the execution entered, in their order."""
    pages = laptop.states.get_paginator("get_execution_history").paginate(executionArn=laptop.execution_arn(run_id))
    events = [event for page in pages for event in page["events"]]
    return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


@contextmanager
def broken_function(laptop: Laptop, name: str) -> Iterator[None]:
    """Take a deployed function the bucket that it writes to."""
    client = laptop.client("lambda")
    (function,) = [
        found["FunctionName"] for found in client.list_functions()["Functions"] if f"-{name}" in found["FunctionName"]
    ]
    before = client.get_function_configuration(FunctionName=function)["Environment"]
    gone = {"Variables": {**before["Variables"], "ARTIFACTS_BUCKET": "no-such-bucket-anywhere"}}
    client.update_function_configuration(FunctionName=function, Environment=gone)
    try:
        yield
    finally:
        client.update_function_configuration(FunctionName=function, Environment=before)


@contextmanager
def broken_step(laptop: Laptop, step: str) -> Iterator[None]:
    files = {"Train": "training_image/train_rl.py", "Validate": "training_image/validate_rl.py"}
    if step == "Prepare":
        with broken_function(laptop, "Prepare"):
            yield
    else:
        with laptop.broken(files.get(step, "serving_image/server.py"), CRASH):
            yield


@pytest.mark.parametrize(
    ("step", "phase", "done_before"),
    [
        ("Prepare", "", []),
        ("Train", Phase.TRAINING, ["Prepare"]),
        ("Validate", Phase.VALIDATING, ["Prepare", "Train"]),
        ("Rehearse", Phase.DEPLOYING, ["Prepare", "Train", "Validate", "Register", "WaitForApproval"]),
    ],
)
def test_a_failed_run_goes_on_from_the_step_that_failed(
    laptop: Laptop, step: str, phase: str, done_before: list[str]
) -> None:
    approval = "deploy: {approval: manual}" if step == "Rehearse" else ""
    with broken_step(laptop, step):
        run_id = laptop.drop(f"resumed-{step.lower()}", QUICK + "compute: {spot: false}\n" + approval)
        if approval:
            laptop.reaches(run_id, Phase.AWAITING_APPROVAL)
            laptop.command(run_id, "approve")
        record = laptop.reaches(run_id, Outcome.FAILED)
        assert record["possible"] == ["resume"]
        assert laptop.end_of(run_id)["error"] == Outcome.FAILED
    status, record = laptop.command(run_id, "resume", "the disk is new")
    assert (status, record["state"], record["wish"]) == (202, "FAILED", "resume")
    record = laptop.reaches(run_id, Outcome.SUCCEEDED, seconds=90)
    execution = laptop.end_of(run_id)
    assert (execution["status"], execution["redriveCount"]) == ("SUCCEEDED", 1)
    assert explained(record), record["history"]
    states = [change["state"] for change in record["history"] if change["state"]]
    assert states[states.index("FAILED") + 1] == (phase or Phase.TRAINING)
    walked = entered(laptop, run_id)
    assert [walked.count(state) for state in done_before] == [1] * len(done_before), walked
    assert laptop.outcome(run_id)["outcome"] == Outcome.SUCCEEDED
    assert laptop.serves(f"resumed-{step.lower()}") == run_id
    assert package_of(laptop, run_id)["ModelApprovalStatus"] == "Approved"
    assert (record["timesteps"], record["total_timesteps"]) == (2048, 2048)


def test_a_run_that_was_rolled_back_is_deployed_again(laptop: Laptop) -> None:
    champion = laptop.drop("comeback", QUICK)
    laptop.reaches(champion, Outcome.SUCCEEDED)
    with broken_serving(laptop, DIES, spared=champion):
        run_id = laptop.drop("comeback", QUICK + "seeds: [1]")
        assert laptop.reaches(run_id, Outcome.ROLLED_BACK)["possible"] == ["resume"]
        assert laptop.serves("comeback") == champion
    assert laptop.command(run_id, "resume")[0] == 202
    record = laptop.reaches(run_id, Outcome.SUCCEEDED)
    assert explained(record), record["history"]
    assert laptop.serves("comeback") == run_id
    assert entered(laptop, run_id).count("Validate") == 1


def test_a_run_may_fail_and_be_resumed_again_and_again(laptop: Laptop) -> None:
    with laptop.broken("training_image/validate_rl.py", CRASH):
        run_id = laptop.drop("stubborn", QUICK + "deploy: {target: none}")
        for attempt in range(3):
            until(
                lambda attempt=attempt: failures(laptop.record(run_id)) > attempt,
                seconds=60,
                what=f"it fails for the {attempt + 1}. time",
            )
            assert laptop.command(run_id, "resume")[0] == 202
        until(lambda: failures(laptop.record(run_id)) == 4, seconds=60, what="it fails for the last time")
    assert laptop.command(run_id, "resume")[0] == 202
    record = laptop.reaches(run_id, Outcome.SUCCEEDED)
    assert explained(record), record["history"]
    assert laptop.end_of(run_id)["redriveCount"] == 4


def test_an_execution_that_is_redriven_in_the_console_is_a_run_that_goes_on(laptop: Laptop) -> None:
    with laptop.broken("training_image/validate_rl.py", CRASH):
        run_id = laptop.drop("by-console", QUICK + "deploy: {target: none}")
        laptop.reaches(run_id, Outcome.FAILED)
        laptop.end_of(run_id)
    laptop.states.redrive_execution(executionArn=laptop.execution_arn(run_id))
    record = laptop.reaches(run_id, Outcome.SUCCEEDED)
    assert explained(record), record["history"]
    assert [change["by"] for change in record["history"] if change["wish"]] == ["console"]


@pytest.mark.parametrize("outcome", [Outcome.REJECTED, Outcome.INVALID])
def test_what_is_over_does_not_go_on_by_a_redrive_either(laptop: Laptop, outcome: Outcome) -> None:
    file = QUICK.replace("min_return: 5", "min_return: 499") if outcome is Outcome.REJECTED else "environment: 7"
    run_id = laptop.drop(f"over-{outcome.lower()}", file)
    before = laptop.end_of(run_id)
    record = laptop.reaches(run_id, outcome)
    laptop.states.redrive_execution(executionArn=laptop.execution_arn(run_id))
    again = laptop.end_of(run_id)
    assert (again["error"], again["cause"], again["redriveCount"]) == (outcome, before["cause"], 1)
    assert laptop.record(run_id)["history"] == record["history"]


def test_the_end_that_the_last_step_could_not_record_is_recorded_from_outside(laptop: Laptop) -> None:
    """And then the run may go on, although its last step never ended."""
    with broken_function(laptop, "Finish"):
        run_id = laptop.drop("unrecorded", QUICK)
        execution = laptop.end_of(run_id)
        assert (execution["status"], execution["error"]) == ("FAILED", "NoSuchBucket")
    laptop.states.redrive_execution(executionArn=laptop.execution_arn(run_id))
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    record = laptop.reaches(run_id, Outcome.SUCCEEDED)
    assert explained(record), record["history"]


def failures(record: dict[str, Any]) -> int:
    """How often the run has failed and stands there."""
    if record.get("state") != Outcome.FAILED:
        return 0
    return [change["state"] for change in record["history"]].count(Outcome.FAILED)


def test_the_outcome_file_is_the_last_ends(laptop: Laptop) -> None:
    with laptop.broken("training_image/train_rl.py", CRASH):
        run_id = laptop.drop("two-ends", QUICK + "deploy: {target: none}")
        laptop.reaches(run_id, Outcome.FAILED)
        assert laptop.outcome(run_id)["outcome"] == Outcome.FAILED
    laptop.command(run_id, "resume")
    laptop.reaches(run_id, Outcome.SUCCEEDED)
    assert laptop.outcome(run_id)["outcome"] == Outcome.SUCCEEDED
    assert laptop.exists(laptop.artifacts_bucket, RunLayout(run_id=run_id).verdict)
