"""What is left over of runs is found, told once, and ended where the stage says so; nothing else is touched."""

# ruff: noqa: N803 - the arguments are named as AWS names them

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from contract.orphans import Kind, Sweep
from contract.record import KIND
from lambdas.items import to_item
from lambdas.sweeper import ending, handler, looking
from tests.unit.lambdas.tables import InProcess, run_table_of

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
LONG_AGO = NOW - timedelta(hours=5)
JUST_NOW = NOW - timedelta(minutes=1)
ROLE = "arn:aws:iam::000000000000:role/model"
MACHINE = "arn:aws:states:us-east-1:000000000000:stateMachine:pipeline"


class World:
    """The services that the sweeper asks."""

    def __init__(self) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.executions: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, dict[str, Any]] = {}
        self.models: dict[str, str] = {}
        self.services: dict[str, dict[str, Any]] = {}
        self.files: dict[str, bytes] = {}
        self.told: list[dict[str, Any]] = []
        self.done: list[tuple[str, str]] = []
        """What was ended, and what was called for it."""
        self.refused: set[str] = set()

    def add_job(self, run_id: str, status: str, at: datetime = LONG_AGO, **more: Any) -> None:
        milliseconds = int(at.timestamp() * 1000)
        self.jobs.append(
            {
                "jobId": f"j{len(self.jobs)}",
                "jobName": f"{run_id}-seed-0",
                "status": status,
                "createdAt": milliseconds,
                "stoppedAt": milliseconds,
                "parameters": {"run": f"s3://artifacts/runs/{run_id}"},
                **more,
            }
        )

    def add_run(self, run_id: str, status: str = "RUNNING", ended: datetime | None = None) -> None:
        more = {} if ended is None else {"stopDate": ended}
        self.executions[run_id] = {"status": status, "error": "E", "cause": "C", "redriveCount": 2, **more}

    def add_endpoint(self, name: str, run_id: str, *, role: str = ROLE, at: datetime = LONG_AGO) -> None:
        self.endpoints[name] = {
            "EndpointName": name,
            "EndpointStatus": "InService",
            "LastModifiedTime": at,
            "EndpointConfigName": run_id,
        }
        self.models[run_id] = role

    def add_service(self, name: str, run_id: str, *, at: datetime = LONG_AGO, status: str = "ACTIVE") -> None:
        self.services[f"arn:aws:ecs:us-east-1:000000000000:service/cluster/{name}"] = {
            "serviceName": name,
            "status": status,
            "taskDefinition": f"arn:aws:ecs:us-east-1:000000000000:task-definition/{run_id}:1",
            "createdAt": LONG_AGO,
            "deployments": [{"updatedAt": at}],
        }


class Client:
    """One service of a world."""

    def __init__(self, world: World, service: str) -> None:
        self._world = world
        self.exceptions = boto3.client(service).exceptions  # type: ignore[call-overload]

    def get_paginator(self, operation: str) -> "Client":
        self._operation = operation
        return self

    def paginate(self, **request: Any) -> Iterator[dict[str, Any]]:
        yield getattr(self, self._operation)(**request)

    def list_jobs(
        self, *, jobQueue: str, jobStatus: str | None = None, filters: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        found = [job for job in self._world.jobs if jobStatus in (None, job["status"])] if jobQueue == "q1" else []
        if filters:
            ((pattern,),) = [entry["values"] for entry in filters]
            found = [job for job in found if job["jobName"].startswith(pattern.removesuffix("*"))]
        return {"jobSummaryList": found}

    def describe_jobs(self, *, jobs: list[str]) -> dict[str, Any]:
        return {"jobs": [job for job in self._world.jobs if job["jobId"] in jobs]}

    def terminate_job(self, *, jobId: str, reason: str) -> None:
        if jobId in self._world.refused:
            raise RuntimeError("throttled")
        self._world.done.append(("terminate_job", jobId))

    def describe_execution(self, *, executionArn: str) -> dict[str, Any]:
        prefix, _, run_id = executionArn.rpartition(":")
        assert prefix == MACHINE.replace(":stateMachine:", ":execution:")
        if run_id not in self._world.executions:
            raise self.exceptions.ExecutionDoesNotExist({"Error": {"Code": "ExecutionDoesNotExist"}}, "Describe")
        return self._world.executions[run_id]

    def stop_execution(self, *, executionArn: str, error: str, cause: str) -> None:
        assert error == "FAILED"
        self._world.done.append(("stop_execution", executionArn.rpartition(":")[2]))

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> None:
        assert (FunctionName, InvocationType) == ("finish", "Event")
        detail = json.loads(Payload)["detail"]
        self._world.done.append(("finish", json.dumps(detail, sort_keys=True)))

    def list_endpoints(self) -> dict[str, Any]:
        return {"Endpoints": list(self._world.endpoints.values())}

    def describe_endpoint(self, *, EndpointName: str) -> dict[str, Any]:
        return self._world.endpoints[EndpointName]

    def describe_model(self, *, ModelName: str) -> dict[str, Any]:
        if self._world.models.get(ModelName) is None:
            raise self.exceptions.ClientError({"Error": {"Code": "ValidationException"}}, "DescribeModel")
        return {"ExecutionRoleArn": self._world.models[ModelName]}

    def delete_endpoint(self, *, EndpointName: str) -> None:
        self._world.done.append(("delete_endpoint", EndpointName))

    def list_services(self, *, cluster: str) -> dict[str, Any]:
        assert cluster == "cluster"
        return {"serviceArns": list(self._world.services)}

    def describe_services(self, *, cluster: str, services: list[str]) -> dict[str, Any]:
        assert len(services) <= 10, "ECS describes no more at once"
        return {"services": [self._world.services[arn] for arn in services]}

    def delete_service(self, *, cluster: str, service: str, force: bool) -> None:
        assert (cluster, force) == ("cluster", True)
        if service in self._world.refused:
            raise self.exceptions.ServiceNotFoundException({"Error": {"Code": "ServiceNotFoundException"}}, "Delete")
        self._world.done.append(("delete_service", service))

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:
        assert Bucket == "artifacts"
        if Key not in self._world.files:
            raise self.exceptions.NoSuchKey({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": io.BytesIO(self._world.files[Key])}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes, ContentType: str) -> None:
        self._world.files[Key] = Body

    def publish(self, **message: Any) -> None:
        self._world.told.append(message)


@pytest.fixture
def table(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> InProcess:
    return run_table_of(looking, request, monkeypatch)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, table: InProcess) -> World:
    for name, value in {
        "MODE": "end",
        "STAGE": "dev",
        "ARTIFACTS_BUCKET": "artifacts",
        "JOB_QUEUES": "q1,q2",
        "STATE_MACHINE_ARN": MACHINE,
        "FINISH_FUNCTION_ARN": "finish",
        "MODEL_ROLE_ARN": ROLE,
        "TOPIC_ARN": "topic",
        "SERVICES_CLUSTER": "cluster",
    }.items():
        monkeypatch.setenv(name, value)
    found = World()
    every = {"batch": "_batch", "ecs": "_ecs", "sagemaker": "_sagemaker", "stepfunctions": "_states"}
    for module, services in (
        (looking, {**every, "s3": "_s3"}),
        (ending, {**every, "lambda": "_lambda"}),
        (handler, {"s3": "_s3", "sns": "_sns"}),
    ):
        for service, variable in services.items():
            monkeypatch.setattr(module, variable, Client(found, service))
    return found


@pytest.fixture
def record(table: InProcess) -> Callable[..., None]:
    import os

    def put(run_id: str, state: str, *, updated: datetime = LONG_AGO, submitted: datetime = LONG_AGO) -> None:
        item = {"run_id": run_id, "kind": KIND, "state": state, "submitted_at": submitted.isoformat()}
        item["updated_at"] = updated.isoformat()
        table.put_item(TableName=os.environ["RUN_TABLE"], Item=to_item(item))

    return put


def found(world: World) -> list[tuple[Kind, str]]:
    swept = handler.sweep(NOW)
    assert Sweep.model_validate_json(world.files["orphans.json"]) == swept
    return [orphan.key for orphan in swept.orphans]


def test_a_job_whose_run_is_over_is_terminated(world: World) -> None:
    world.add_run("over", "ABORTED", LONG_AGO)
    world.add_job("over", "RUNNING")
    world.add_job("gone", "RUNNABLE")
    world.add_job("over", "SUCCEEDED")
    assert found(world) == [(Kind.JOB, "j0"), (Kind.JOB, "j1")]
    assert world.done == [("terminate_job", "j0"), ("terminate_job", "j1")]
    [message] = world.told
    assert message["Subject"] == "ORPHANS: 2 left over in dev"
    assert "aws batch terminate-job --job-id j0" in message["Message"]
    assert message["MessageAttributes"]["outcome"]["StringValue"] == "ORPHANS"


def test_a_job_that_may_still_end_by_itself_or_is_nobodys_business_is_left_alone(world: World) -> None:
    world.add_run("going", "RUNNING")
    world.add_job("going", "RUNNING")
    world.add_run("just-stopped", "ABORTED", JUST_NOW)
    world.add_job("just-stopped", "RUNNING")
    world.add_job("just-submitted", "SUBMITTED", JUST_NOW)
    world.add_job("by-hand", "RUNNING", parameters={})
    assert found(world) == []
    assert world.done == world.told == []


@pytest.mark.parametrize("state", ["TRAINING", "VALIDATING"])
def test_an_execution_whose_jobs_are_gone_ends_as_failed(world: World, record: Callable[..., None], state: str) -> None:
    world.add_run("stuck")
    record("stuck", state)
    world.add_job("stuck", "FAILED")
    assert found(world) == [(Kind.EXECUTION, "stuck")]
    assert world.done == [("stop_execution", "stuck")]


def test_an_execution_that_does_something_or_waits_for_somebody_goes_on(
    world: World, record: Callable[..., None]
) -> None:
    for run_id, state in (
        ("trains", "TRAINING"),
        ("paused", "PAUSED"),
        ("asks", "AWAITING_APPROVAL"),
        ("new", "TRAINING"),
        ("between", "TRAINING"),
    ):
        world.add_run(run_id)
        record(run_id, state, updated=JUST_NOW if run_id == "new" else LONG_AGO)
    world.add_job("trains", "RUNNING")
    world.add_job("between", "SUCCEEDED", JUST_NOW)
    assert found(world) == []


@pytest.mark.parametrize("execution", ["ABORTED", "FAILED", "TIMED_OUT", "SUCCEEDED", None])
def test_a_run_whose_end_was_not_written_down_is_finished(
    world: World, record: Callable[..., None], execution: str | None
) -> None:
    if execution is not None:
        world.add_run("lost", execution, LONG_AGO)
    record("lost", "DEPLOYING")
    assert found(world) == [(Kind.RECORD, "lost")]
    [(called, detail)] = world.done
    assert called == "finish"
    told = json.loads(detail)
    assert (told["name"], told["status"]) == ("lost", execution or "FAILED")
    if execution is not None:
        assert (told["error"], told["cause"], told["redriveCount"]) == ("E", "C", 2)


def test_a_run_that_has_just_ended_or_has_its_outcome_is_left_alone(world: World, record: Callable[..., None]) -> None:
    world.add_run("ending", "FAILED", JUST_NOW)
    record("ending", "TRAINING")
    world.add_run("over", "FAILED", LONG_AGO)
    record("over", "FAILED")
    record("old", "TRAINING", submitted=NOW - timedelta(days=40))
    assert found(world) == []


def test_an_endpoint_without_a_champion_is_deleted(world: World) -> None:
    world.add_run("over", "FAILED", LONG_AGO)
    world.add_endpoint("left", "over")
    world.add_endpoint("rehearsal-1", "unheard-of")
    assert found(world) == [(Kind.ENDPOINT, "left"), (Kind.ENDPOINT, "rehearsal-1")]
    assert world.done == [("delete_endpoint", "left"), ("delete_endpoint", "rehearsal-1")]


def test_an_endpoint_that_somebody_owns_is_left_alone(world: World) -> None:
    world.add_run("over", "SUCCEEDED", LONG_AGO)
    world.add_run("deploys", "RUNNING")
    world.add_endpoint("serves", "over")
    world.files["champions/serves.json"] = b"{}"
    world.add_endpoint("being-deployed", "deploys")
    world.add_endpoint("another-stages", "theirs", role="arn:aws:iam::000000000000:role/other")
    world.add_endpoint("not-ours-at-all", "by-hand")
    del world.models["by-hand"]
    world.add_endpoint("new", "quick", at=JUST_NOW)
    assert found(world) == []


def test_a_service_without_a_champion_is_deleted(world: World) -> None:
    world.add_run("over", "FAILED", LONG_AGO)
    names = [f"left-{number:02}" for number in range(12)]
    for name in names:
        world.add_service(name, "over")
    world.refused = {"left-00"}
    assert found(world) == [(Kind.SERVICE, name) for name in names]
    assert world.done == [("delete_service", name) for name in names[1:]], "one is gone by now"
    assert "aws ecs delete-service --force --cluster cluster --service left-11" in world.told[0]["Message"]


def test_a_service_that_somebody_owns_is_left_alone(world: World) -> None:
    world.add_run("over", "SUCCEEDED", LONG_AGO)
    world.add_run("deploys", "RUNNING")
    world.add_service("serves", "over")
    world.files["champions/serves.json"] = b"{}"
    world.add_service("rehearsal-1", "deploys")
    world.add_service("new", "over", at=JUST_NOW)
    world.add_service("goes", "over", status="DRAINING")
    assert found(world) == []


def test_a_stage_without_services_asks_for_none(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVICES_CLUSTER", "")
    world.add_service("left", "over")
    assert found(world) == []


def test_where_the_stage_says_report_nothing_is_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODE", "report")
    world.add_job("gone", "RUNNING")
    assert found(world) == [(Kind.JOB, "j0")]
    assert world.done == []
    assert "Each costs until it is ended" in world.told[0]["Message"]


def test_what_is_known_is_not_told_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODE", "report")
    world.add_job("gone", "RUNNING")
    handler.sweep(NOW)
    handler.sweep(NOW)
    assert len(world.told) == 1
    world.add_job("gone-too", "RUNNING")
    handler.sweep(NOW)
    assert "gone-too" in world.told[1]["Message"]
    assert "1 thing is left over" in world.told[1]["Message"]


def test_one_that_cannot_be_ended_keeps_no_other_from_it(world: World) -> None:
    world.add_job("one", "RUNNING")
    world.add_job("two", "RUNNING")
    world.refused = {"j0"}
    with pytest.raises(RuntimeError, match="1 of 2 could not be ended: job j0: throttled"):
        handler.sweep(NOW)
    assert world.done == [("terminate_job", "j1")]
    assert world.told, "they are told of all the same"
    assert json.loads(world.files["orphans.json"])["ended"] is False


def test_an_endpoint_that_is_gone_by_now_is_no_failure(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(_: Client, *, EndpointName: str) -> None:
        message = f'Could not find endpoint "{EndpointName}".'
        error = {"Error": {"Code": "ValidationException", "Message": message}}
        raise ending._sagemaker.exceptions.ClientError(error, "DeleteEndpoint")  # type: ignore[arg-type]

    monkeypatch.setattr(Client, "delete_endpoint", gone)
    world.add_endpoint("left", "over")
    assert found(world) == [(Kind.ENDPOINT, "left")]


def test_the_function_answers_with_its_report(world: World) -> None:
    answer = handler.handler({"time": "2026-06-01T12:00:00Z"}, None)
    assert answer == {"at": "2026-06-01T12:00:00+00:00", "ended": True, "orphans": []}
