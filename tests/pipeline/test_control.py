"""A person is in charge of a run at every moment: commands through the API, on the deployed stacks."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from contract.control import Phase
from contract.layout import MODEL, RunLayout
from contract.outcomes import Outcome
from tests.pipeline.laptop import QUICK, Laptop, until
from tests.pipeline.replay import Replay

LONG = """
environment: {id: CartPole-v1}
timesteps: 80000
checkpoint: {every_seconds: 1}
validation: {episodes: 300, min_return: 5}
deploy: {target: none}
"""
"""Trains for some seconds and is validated for some more, so that there is time to give a command."""

MANUAL = QUICK + "deploy: {approval: manual}"


def weights(laptop: Laptop, run_id: str, seed: int = 0) -> str:
    key = f"{RunLayout(run_id=run_id).seed(seed)}/{MODEL}/policy.safetensors"
    body = laptop.s3.get_object(Bucket=laptop.artifacts_bucket, Key=key)["Body"].read()
    return hashlib.sha256(body).hexdigest()


def processes_of(run_id: str) -> list[int]:
    """The processes of a run's jobs that live."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(word.endswith(f"/runs/{run_id}") for word in words):
            found.append(process.pid)
    return found


def explained(record: dict[str, Any]) -> bool:
    """Whether a run's history explains how it came to where it is. Raises AssertionError with the whole story."""
    Replay().read(record)
    return True


def begun(laptop: Laptop, run_id: str) -> bool:
    return bool(laptop.record(run_id))


def training(laptop: Laptop, run_id: str) -> bool:
    return bool(laptop.record(run_id).get("timesteps"))


def queued(laptop: Laptop, run_id: str) -> bool:
    """Two seeds fill the On-Demand environment, so a third waits."""
    jobs = laptop.record(run_id).get("jobs", {}).values()
    return sorted(job["status"] for job in jobs) == ["RUNNABLE", "RUNNING", "RUNNING"]


def validating(laptop: Laptop, run_id: str) -> bool:
    record = laptop.record(run_id)
    return record.get("jobs", {}).get("validate", {}).get("status") == "RUNNING"


MOMENTS: dict[str, tuple[Callable[[Laptop, str], bool], str]] = {
    "starting": (begun, ""),
    "training": (training, ""),
    "queued": (queued, "seeds: 3\ncompute: {spot: false}"),
    "validating": (validating, ""),
}


@pytest.fixture(scope="module")
def never_paused(laptop: Laptop) -> str:
    """The weights of a run that nobody interfered with."""
    run_id = laptop.drop("calm", LONG)
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    return weights(laptop, run_id)


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_paused_run_ends_with_the_weights_of_one_that_never_was(
    laptop: Laptop, never_paused: str, moment: str
) -> None:
    there, more = MOMENTS[moment]
    run_id = laptop.drop(f"paused-{moment}", LONG + more)
    until(lambda: there(laptop, run_id), seconds=60, what=f"{run_id} is {moment}")
    if moment in ("training", "validating"):
        until(lambda: processes_of(run_id), seconds=60, what="its process is seen, so that it can be missed")
    status, record = laptop.command(run_id, "pause", "lunch")
    assert (status, record["wish"]) == (202, "pause")
    record = laptop.reaches(run_id, Phase.PAUSED, seconds=40)
    assert record["possible"] == ["resume", "stop"]
    assert processes_of(run_id) == []
    assert laptop.command(run_id, "pause")[0] == 202, "to pause what is paused is no error"
    assert laptop.command(run_id, "resume")[0] == 202
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    record = laptop.reaches(run_id, Outcome.SUCCEEDED)
    assert weights(laptop, run_id) == never_paused
    assert explained(record), record["history"]
    assert "paused by root: lunch" in [change["reason"] for change in record["history"]]


@pytest.mark.parametrize("moment", [*MOMENTS, "paused"])
def test_stop_means_stopped(laptop: Laptop, moment: str) -> None:
    there, more = MOMENTS.get(moment, (training, ""))
    run_id = laptop.drop(f"stopped-{moment}", LONG + more)
    until(lambda: there(laptop, run_id), seconds=60, what=f"{run_id} is {moment}")
    if moment == "paused":
        laptop.command(run_id, "pause")
        laptop.reaches(run_id, Phase.PAUSED, seconds=40)
    assert laptop.command(run_id, "stop", "wrong seed")[0] == 202
    execution = laptop.end_of(run_id, seconds=45)
    assert (execution["error"], execution["cause"]) == (Outcome.STOPPED, "stopped by root: wrong seed")
    record = laptop.reaches(run_id, Outcome.STOPPED)
    assert processes_of(run_id) == []
    assert explained(record)
    assert laptop.command(run_id, "stop")[0] == 202, "to stop what is stopped is no error"
    status, refusal = laptop.command(run_id, "resume")
    assert (status, refusal["state"], refusal["possible"]) == (409, "STOPPED", [])
    if moment in ("training", "paused"):
        kept = laptop.s3.list_objects_v2(
            Bucket=laptop.artifacts_bucket, Prefix=f"{RunLayout(run_id=run_id).seed(0)}/checkpoints/"
        )["Contents"]
        assert any(item["Key"].endswith("manifest.json") for item in kept)


def test_stop_has_the_last_word_over_pause(laptop: Laptop) -> None:
    run_id = laptop.drop("changed-mind", LONG)
    until(lambda: begun(laptop, run_id), seconds=60, what="it is there")
    assert laptop.command(run_id, "pause")[0] == 202
    assert laptop.command(run_id, "stop")[0] == 202
    assert laptop.end_of(run_id, seconds=45)["error"] == Outcome.STOPPED


def test_an_execution_aborted_in_the_console_ends_in_the_record_too(laptop: Laptop) -> None:
    run_id = laptop.drop("aborted", LONG)
    until(lambda: training(laptop, run_id), seconds=60, what="it trains")
    laptop.command(run_id, "pause")
    laptop.reaches(run_id, Phase.PAUSED, seconds=40)
    laptop.states.stop_execution(executionArn=laptop.execution_arn(run_id), cause="by hand")
    record = laptop.reaches(run_id, Outcome.STOPPED)
    assert record["possible"] == []
    assert processes_of(run_id) == []
    assert laptop.command(run_id, "resume")[0] == 409


def test_an_approved_policy_is_deployed(laptop: Laptop) -> None:
    run_id = laptop.drop("approved", MANUAL)
    record = laptop.reaches(run_id, Phase.AWAITING_APPROVAL)
    assert record["possible"] == ["pause", "stop", "approve", "reject"]
    assert laptop.sagemaker.list_endpoints(NameContains="approved")["Endpoints"] == []
    status, refusal = laptop.command(run_id, "resume")
    assert (status, refusal["state"], refusal["possible"]) == (409, "AWAITING_APPROVAL", record["possible"])
    assert laptop.command(run_id, "approve")[0] == 202
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    assert laptop.serves("approved") == run_id
    assert explained(laptop.reaches(run_id, Outcome.SUCCEEDED))
    assert package_of(laptop, run_id)["ModelApprovalStatus"] == "Approved"


def test_a_run_that_waits_for_approval_may_be_paused_and_asks_again(laptop: Laptop) -> None:
    """Its policy is not trained or judged again, and the time for an answer begins anew."""
    run_id = laptop.drop("holiday", MANUAL)
    laptop.reaches(run_id, Phase.AWAITING_APPROVAL)
    assert laptop.command(run_id, "pause", "nobody is here")[0] == 202
    laptop.reaches(run_id, Phase.PAUSED)
    assert laptop.command(run_id, "approve")[0] == 409
    assert laptop.command(run_id, "resume")[0] == 202
    laptop.reaches(run_id, Phase.AWAITING_APPROVAL)
    assert laptop.command(run_id, "reject")[0] == 202
    record = laptop.reaches(run_id, Outcome.REJECTED)
    assert explained(record)
    assert len(laptop.jobs_of(run_id)) == 2, "one training, one validation"


@pytest.mark.parametrize(
    ("command", "outcome", "said"),
    [
        ("reject", Outcome.REJECTED, "rejected by root: too jumpy"),
        ("stop", Outcome.STOPPED, "stopped by root: too jumpy"),
    ],
)
def test_a_policy_that_is_turned_down_is_kept_and_not_deployed(
    laptop: Laptop, command: str, outcome: Outcome, said: str
) -> None:
    run_id = laptop.drop(f"turned-down-{command}", MANUAL)
    laptop.reaches(run_id, Phase.AWAITING_APPROVAL)
    assert laptop.command(run_id, command, "too jumpy")[0] == 202
    execution = laptop.end_of(run_id)
    assert (execution["error"], execution["cause"]) == (outcome, said)
    assert laptop.sagemaker.list_endpoints(NameContains="turned-down")["Endpoints"] == []
    assert laptop.exists(laptop.artifacts_bucket, RunLayout(run_id=run_id).model_archive)
    if command == "reject":
        assert package_of(laptop, run_id)["ModelApprovalStatus"] == "Rejected"


def test_a_policy_that_nobody_approves_is_rejected(laptop: Laptop) -> None:
    run_id = laptop.drop("forgotten", QUICK + "deploy: {approval: manual, approval_hours: 0.0003}")
    execution = laptop.end_of(run_id)
    assert (execution["error"], execution["cause"]) == (
        Outcome.REJECTED,
        "nobody approved it within 0.0003 hours",
    )
    record = laptop.reaches(run_id, Outcome.REJECTED)
    assert explained(record)
    assert laptop.command(run_id, "approve")[0] == 409


def test_of_approve_and_reject_at_once_one_wins(laptop: Laptop) -> None:
    run_id = laptop.drop("contested", MANUAL)
    laptop.reaches(run_id, Phase.AWAITING_APPROVAL)
    commands = ["approve", "reject"] * 4
    with ThreadPoolExecutor(len(commands)) as pool:
        answers = list(pool.map(lambda command: (command, laptop.command(run_id, command)[0]), commands))
    accepted = {command for command, status in answers if status == 202}
    assert {status for _, status in answers} == {202, 409}
    assert len(accepted) == 1, answers
    record = laptop.reaches(run_id, Outcome.SUCCEEDED, Outcome.REJECTED)
    assert record["state"] == (Outcome.SUCCEEDED if accepted == {"approve"} else Outcome.REJECTED)
    assert [change["wish"] for change in record["history"] if change["wish"]] == list(accepted)


def test_a_run_may_be_submitted_listed_and_asked_through_the_api(laptop: Laptop) -> None:
    specification = {
        "environment": {"id": "CartPole-v1"},
        "timesteps": 2048,
        "validation": {"episodes": 20, "min_return": 5},
    }
    status, submitted = laptop.api.request("POST", "/runs", specification, query={"experiment": "by-api"})
    assert (status, submitted["experiment"]) == (202, "by-api")
    run_id = submitted["run_id"]
    assert laptop.end_of(run_id)["status"] == "SUCCEEDED"
    record = laptop.reaches(run_id, Outcome.SUCCEEDED)
    assert (record["timesteps"] >= 2048, record["attempts"], record["endpoint"]) == (True, 1, "by-api")
    assert run_id in [run["run_id"] for run in laptop.api.runs(10)]
    assert "by-api" in [policy["endpoint"] for policy in laptop.api.policies()]
    status, answer = laptop.api.request("POST", "/policies/by-api/action", {"observation": [0.0, 0.0, 0.1, 0.5]})
    assert (status, answer) == (200, laptop.predict("by-api", [0.0, 0.0, 0.1, 0.5]))
    # Policies are asked more often than runs, and may be.
    again = [laptop.api.request("POST", "/policies/by-api/action", {"observation": [0.0] * 4})[0] for _ in range(150)]
    assert set(again) == {200}


@pytest.mark.parametrize(
    ("method", "path", "query", "body", "status"),
    [
        ("POST", "/runs", {"experiment": "bad"}, {"environment": {"id": "CartPole-v1"}, "timesteps": "soon"}, 400),
        ("POST", "/runs", {}, {"environment": {"id": "CartPole-v1"}}, 400),
        ("POST", "/runs", {"experiment": "../up"}, {"environment": {"id": "CartPole-v1"}}, 400),
        ("GET", "/runs", {"limit": "0"}, None, 400),
        ("GET", "/runs", {"next": "nonsense"}, None, 400),
        ("GET", "/runs/nobody-000000000000", {}, None, 404),
        ("POST", "/runs/nobody-000000000000/stop", {}, {}, 404),
        ("POST", "/runs/nobody-000000000000/stop", {}, {"reason": 7}, 400),
        ("POST", "/runs/nobody-000000000000/dance", {}, {}, 403),
        ("POST", "/policies/nobody/action", {}, {"observation": [0.0]}, 400),
        ("POST", "/policies/nobody/action", {}, {"question": 1}, 400),
    ],
)
def test_a_request_that_cannot_be_is_refused_in_words(
    laptop: Laptop, method: str, path: str, query: dict[str, str], body: Any, status: int
) -> None:
    given, answer = laptop.api.request(method, path, body, query=query)
    assert given == status, answer
    assert answer["message"]


def package_of(laptop: Laptop, run_id: str) -> dict[str, Any]:
    """The model package of a run."""
    for group in laptop.sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"]:
        for package in laptop.sagemaker.list_model_packages(
            ModelPackageGroupName=group["ModelPackageGroupName"], MaxResults=100
        )["ModelPackageSummaryList"]:
            found: dict[str, Any] = laptop.sagemaker.describe_model_package(ModelPackageName=package["ModelPackageArn"])
            if found["CustomerMetadataProperties"]["run"].endswith(run_id):
                return found
    raise AssertionError(f"no model package of {json.dumps(run_id)}")
