"""Commands and job events against a real evaluation of the table's conditions, in this process."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import ANY, Stubber

from contract.control import Command, Phase
from contract.outcomes import Outcome
from contract.record import KIND, new_record
from lambdas.control import commands, jobs, runs, table
from lambdas.control.handler import handler
from lambdas.items import from_item, to_item
from tests.unit.lambdas.tables import InProcess, run_table_of

Stub = Callable[[Any], Stubber]
RUN = "cartpole-0123456789ab"


@pytest.fixture(autouse=True)
def runs_table(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> InProcess:
    for variable, value in {
        "INPUT_BUCKET": "in",
        "ARTIFACTS_BUCKET": "a",
        "JOB_LOG_GROUP": "g",
        "STATE_MACHINE_ARN": "arn:aws:states:us-east-1:000000000000:stateMachine:pipeline",
    }.items():
        monkeypatch.setenv(variable, value)
    return run_table_of(table, request, monkeypatch)


@pytest.fixture
def put(runs_table: InProcess, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Put a run into the table."""

    def put_run(run_id: str = RUN, **attributes: Any) -> None:
        fresh = new_record(
            run_id=run_id,
            experiment="cartpole",
            submitted_at="2026-01-01T00:00:00Z",
            endpoint=None,
            seeds=[0],
            total_timesteps=100,
            price_per_hour=0.0,
            artifacts="s3://a/x",
        )
        runs_table.put_item(TableName=os.environ["RUN_TABLE"], Item=to_item({**fresh, **attributes}))

    return put_run


@pytest.fixture
def terminated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Ids and reasons of the jobs that were terminated."""
    ended: list[tuple[str, str]] = []
    monkeypatch.setattr(jobs._batch, "terminate_job", lambda jobId, reason: ended.append((jobId, reason)))  # noqa: N803
    monkeypatch.setattr(jobs, "live_progress", lambda _: {})
    return ended


def ask(method: str, resource: str, run_id: str = RUN, **event: Any) -> tuple[int, dict[str, Any]]:
    request = {
        "httpMethod": method,
        "resource": resource,
        "pathParameters": {"run_id": run_id},
        "requestContext": {"identity": {"userArn": "arn:aws:iam::000000000000:user/ada"}},
        **event,
    }
    answer = handler(request, None)
    assert answer["headers"]["Content-Type"] == "application/json"
    return answer["statusCode"], json.loads(answer["body"])


def command(name: str, **event: Any) -> tuple[int, dict[str, Any]]:
    return ask("POST", f"/runs/{{run_id}}/{name}", **event)


def job_event(
    status: str, at: str = "2026-01-01T00:00:01Z", job_id: str = "j1", name: str = "seed-0"
) -> dict[str, Any]:
    return {
        "detail-type": "Batch Job State Change",
        "time": at,
        "detail": {
            "jobId": job_id,
            "jobName": f"{RUN}-{name}",
            "status": status,
            "parameters": {"run": f"s3://artifacts/runs/{RUN}"},
        },
    }


def item() -> dict[str, Any]:
    found = table.read(RUN)
    assert found is not None
    return found


RUNNING = {"seed-0": {"job_id": "j1", "status": "RUNNING", "since": "2026-01-01T00:00:01Z"}}


def test_pause_is_a_wish_that_ends_the_jobs(put: Callable[..., None], terminated: list[tuple[str, str]]) -> None:
    ended = {"job_id": "j2", "status": "SUCCEEDED", "since": "x"}
    put(jobs={**RUNNING, "seed-1": ended})
    status, record = command("pause", body='{"reason": "lunch"}')
    assert (status, record["wish"], record["possible"]) == (202, "pause", ["stop"])
    assert terminated == [("j1", "paused by user/ada: lunch")]
    assert record["history"][-1] == {
        **record["history"][-1],
        "by": "user/ada",
        "wish": "pause",
        "reason": "paused by user/ada: lunch",
    }
    assert command("pause")[0] == 202
    assert len(terminated) == 2, "who repeats a command carries it out again: the first may have died half-way"
    assert item()["version"] == 2, "but it is one wish"


def test_a_command_that_makes_no_sense_changes_nothing(
    put: Callable[..., None], terminated: list[tuple[str, str]]
) -> None:
    put(state="DEPLOYING")
    for name in Command:
        status, refusal = command(name)
        assert (status, refusal["state"], refusal["possible"]) == (409, "DEPLOYING", [])
    assert item()["version"] == 1
    assert terminated == []


@pytest.mark.parametrize("name", ["resume", "stop"])
def test_a_waiting_run_is_woken(
    put: Callable[..., None], terminated: list[tuple[str, str]], stub: Stub, name: str
) -> None:
    put(state=str(Phase.PAUSED), token="t0ken")
    stub(commands._states).add_response("send_task_success", {}, {"taskToken": "t0ken", "output": "{}"})
    assert command(name)[0] == 202


@pytest.mark.parametrize("gone", ["TaskDoesNotExist", "TaskTimedOut"])
def test_a_token_that_is_used_up_is_no_error(
    put: Callable[..., None], terminated: list[tuple[str, str]], stub: Stub, gone: str
) -> None:
    put(state=str(Phase.PAUSED), token="t0ken", wish="resume")
    stub(commands._states).add_client_error("send_task_success", gone)
    assert command("resume")[0] == 202


def test_a_lost_race_is_decided_by_the_table_again(
    put: Callable[..., None], terminated: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    put()
    write = table.write_wish

    def pipeline_is_faster(before: dict[str, Any], *args: Any, **more: Any) -> Any:
        put(state=str(Phase.DEPLOYING))
        return write(before, *args, **more)

    monkeypatch.setattr(table, "write_wish", pipeline_is_faster)
    status, refusal = command("pause")
    assert (status, refusal["state"]) == (409, "DEPLOYING")


def test_a_job_that_was_submitted_while_the_wish_was_written_is_ended_by_its_event(
    put: Callable[..., None], terminated: list[tuple[str, str]]
) -> None:
    put()
    command("stop")
    assert terminated == []
    assert handler(job_event("RUNNABLE"), None) == {"noted": True}
    assert terminated == [("j1", "stopped by user/ada")]


@pytest.mark.parametrize(
    ("before", "event", "noted"),
    [
        (None, ("RUNNABLE", "01", "j1"), True),
        (("RUNNABLE", "01", "j1"), ("RUNNING", "01", "j1"), True),
        (("RUNNING", "01", "j1"), ("RUNNABLE", "01", "j1"), False),
        (("SUCCEEDED", "01", "j1"), ("RUNNING", "01", "j1"), False),
        (("RUNNING", "02", "j1"), ("RUNNABLE", "01", "j1"), False),
        (("RUNNING", "01", "j1"), ("RUNNABLE", "02", "j1"), True),
        (("FAILED", "01", "j1"), ("RUNNABLE", "01", "j2"), True),
        (("RUNNABLE", "01", "j2"), ("FAILED", "01", "j1"), False),
        (("RUNNABLE", "01", "j2"), ("FAILED", "02", "j1"), False),
    ],
)
def test_job_events_may_come_in_any_order(
    put: Callable[..., None],
    terminated: list[tuple[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    before: tuple[str, str, str] | None,
    event: tuple[str, str, str],
    noted: bool,
) -> None:
    monkeypatch.setattr(jobs, "_note_progress", lambda *_: None)
    put()
    for status, second, job_id in (before, event) if before else (event,):
        given = job_event(status, f"2026-01-01T00:00:{second}Z", job_id)
        if before and (status, second, job_id) == before and status in table.FINISHED:
            handler(job_event("RUNNING", f"2026-01-01T00:00:{second}Z", job_id), None)
        answer = handler(given, None)
    assert answer == {"noted": noted}
    expected = event if noted or before is None else before
    known = item()["jobs"]["seed-0"]
    assert (known["status"], known["since"][-3:-1], known["job_id"]) == expected


def test_an_event_of_a_run_that_is_not_in_the_table_is_dropped() -> None:
    assert handler(job_event("RUNNING"), None) == {"noted": False}


def test_the_end_of_a_training_is_noted_with_what_it_did(put: Callable[..., None], stub: Stub) -> None:
    put(jobs=RUNNING)
    summary = {"timesteps": 90, "mean_return": 12.5, "wall_seconds": 3.25, "attempts": 2, "more": 1}
    stub(jobs._s3).add_response(
        "get_object",
        {"Body": _Body(json.dumps(summary))},
        {"Bucket": "a", "Key": f"runs/{RUN}/seed-0/training.json"},
    )
    handler(job_event("SUCCEEDED", "2026-01-01T00:00:09Z"), None)
    assert item()["progress"]["seed-0"] == {"timesteps": 90, "mean_return": 12.5, "seconds": 3.25, "attempts": 2}


def test_a_job_that_never_started_training_has_no_progress(put: Callable[..., None], stub: Stub) -> None:
    put(jobs=RUNNING)
    stub(jobs._s3).add_client_error("get_object", "NoSuchKey")
    handler(job_event("FAILED", "2026-01-01T00:00:09Z"), None)
    assert item()["progress"] == {}


def test_progress_of_a_running_job_comes_from_its_log(put: Callable[..., None], stub: Stub) -> None:
    put(
        jobs={"seed-0": {**RUNNING["seed-0"], "log_stream": "s", "started_at": 1}},
        progress={"seed-0": {"timesteps": 10, "mean_return": 1.0, "seconds": 5.0, "attempts": 1}},
    )
    lines = ['{"event":"progress","timesteps":50,"mean_return":7.5}', "plain", '{"event":"nonsense"']
    stub(jobs._logs).add_response(
        "get_log_events",
        {"events": [{"message": line} for line in lines]},
        {"logGroupName": "g", "logStreamName": "s", "limit": ANY, "startFromHead": False},
    )
    _, record = ask("GET", "/runs/{run_id}")
    assert (record["timesteps"], record["mean_return"], record["attempts"]) == (50, 7.5, 2)


def test_runs_are_listed_newest_first_and_page_by_page(put: Callable[..., None]) -> None:
    for number in range(5):
        put(f"run-{number}", submitted_at=f"2026-01-0{number + 1}T00:00:00Z", state=str(Outcome.SUCCEEDED))
    status, first = ask("GET", "/runs", queryStringParameters={"limit": "3"})
    assert (status, [run["run_id"] for run in first["runs"]]) == (200, ["run-4", "run-3", "run-2"])
    _, second = ask("GET", "/runs", queryStringParameters={"limit": "3", "next": first["next"]})
    assert [run["run_id"] for run in second["runs"]] == ["run-1", "run-0"]
    assert second["next"] is None


@pytest.mark.parametrize("query", [{"limit": "many"}, {"limit": "101"}, {"next": "%%%"}, {"next": "e30"}])
def test_a_list_that_cannot_be_is_refused(query: dict[str, str]) -> None:
    assert ask("GET", "/runs", queryStringParameters=query)[0] == 400


def test_a_run_file_is_dropped_as_it_is(stub: Stub) -> None:
    stub(runs._s3).add_response(
        "put_object",
        {"VersionId": "v1"},
        {"Bucket": "in", "Key": "ex/run.yaml", "Body": b"environment: {id: CartPole-v1}", "ContentType": ANY},
    )
    event = {"queryStringParameters": {"experiment": "ex"}, "body": "environment: {id: CartPole-v1}"}
    status, submitted = ask("POST", "/runs", **event)
    assert (status, submitted["experiment"], submitted["run_id"][:3]) == (202, "ex", "ex-")


def test_a_refused_run_file_is_not_dropped() -> None:
    event = {"queryStringParameters": {"experiment": "ex"}, "body": "environment: {id: Nothing-v1}\ntimesteps: 1"}
    status, answer = ask("POST", "/runs", **event)
    assert (status, answer["error"]) == (400, "invalid")
    assert answer["problems"][0].startswith("environment.id")


def test_what_breaks_is_told_without_its_insides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table, "read", lambda _: 1 / 0)
    status, answer = ask("GET", "/runs/{run_id}")
    assert (status, answer["error"]) == (500, "internal")
    assert "ZeroDivision" not in json.dumps(answer)


def test_what_does_not_exist_is_unknown() -> None:
    assert ask("GET", "/runs/{run_id}")[0] == 404
    assert ask("GET", "/runs/{run_id}", pathParameters={"run_id": "\0" * 3000})[0] == 404
    assert ask("DELETE", "/runs")[0] == 404


def test_items_keep_every_value() -> None:
    values = {"f": 0.1, "i": 3, "s": "x", "l": [1, 2.5, {"n": True}], "m": {"a": {"b": []}}, "none": None}
    assert from_item(to_item(values)) == {key: value for key, value in values.items() if value is not None}
    assert KIND == "run"


class _Body:
    def __init__(self, text: str) -> None:
        self._text = text

    def read(self) -> bytes:
        return self._text.encode()


EXECUTION = f"arn:aws:states:us-east-1:000000000000:execution:pipeline:{RUN}"


def test_a_failed_run_is_resumed_by_a_redrive(stub: Stub, put: Callable[..., None]) -> None:
    put(state=Outcome.FAILED, ended_at="2026-01-01T00:00:01Z")
    states = stub(commands._states)
    for _ in range(2):  # given again, it is carried out again
        states.add_response("redrive_execution", {"redriveDate": 0}, {"executionArn": EXECUTION})
        status, record = command("resume")
        assert (status, record["state"], record["wish"]) == (202, "FAILED", "resume")
    assert [change["wish"] for change in record["history"]] == [None, "resume"]


def test_a_failed_run_that_goes_on_already_is_not_refused(stub: Stub, put: Callable[..., None]) -> None:
    put(state=Outcome.FAILED, wish=Command.RESUME, wish_reason="resumed by ada")
    states = stub(commands._states)
    states.add_client_error("redrive_execution", "ExecutionNotRedrivable", "it is RUNNING")
    states.add_response("describe_execution", description("RUNNING"), {"executionArn": EXECUTION})
    assert command("resume")[0] == 202


@pytest.mark.parametrize("gone", ["ExecutionNotRedrivable", "ExecutionDoesNotExist"])
def test_a_failed_run_that_cannot_go_on_any_more_is_refused_and_says_why(
    stub: Stub, put: Callable[..., None], gone: str
) -> None:
    put(state=Outcome.FAILED)
    states = stub(commands._states)
    states.add_client_error("redrive_execution", gone, "it ended more than 14 days ago")
    if gone == "ExecutionDoesNotExist":
        states.add_client_error("describe_execution", gone)
    else:
        states.add_response("describe_execution", description("FAILED"))
    status, refusal = command("resume")
    assert (status, refusal["state"], refusal["possible"]) == (409, "FAILED", [])
    assert "more than 14 days ago; submit its file again" in refusal["message"]
    assert "wish" not in item()
    assert item()["history"][-1]["reason"] == "it cannot go on: it ended more than 14 days ago"


def description(status: str) -> dict[str, Any]:
    arn = "arn:aws:states:us-east-1:000000000000:stateMachine:pipeline"
    return {"executionArn": EXECUTION, "stateMachineArn": arn, "status": status, "startDate": 0}
