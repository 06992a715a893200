"""A run file is resolved into run.json and pointers, or refused with its reasons beside it."""

import io
import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from contract.control import Command
from contract.record import read_record
from contract.run import MAX_RUN_FILE_BYTES, ResolvedRun
from lambdas.items import from_item, to_item
from lambdas.prepare import handler as prepare
from tests.unit.lambdas.tables import run_table_of

Stub = Callable[[Any], Stubber]
EVENT = {
    "run_id": "cartpole-0123456789ab",
    "experiment": "cartpole",
    "bucket": "input",
    "key": "cartpole/run.yaml",
    "version_id": "v1",
}


@pytest.fixture(autouse=True)
def _bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")
    monkeypatch.setenv("RUN_TABLE", "runs")
    monkeypatch.setenv("CPU_PRICE_PER_HOUR", "0.2")
    monkeypatch.setenv("GPU_PRICE_PER_HOUR", "1")
    monkeypatch.setenv("SERVING_PRICES", '{"instances": 2, "instance_hour": 0.1}')


def drop(s3: Stubber, content: bytes) -> None:
    s3.add_response(
        "get_object",
        {"Body": StreamingBody(io.BytesIO(content), len(content))},
        {"Bucket": "input", "Key": "cartpole/run.yaml", "VersionId": "v1"},
    )


def test_a_good_file_is_resolved_and_pointed_to(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = stub(prepare._s3)
    stub(prepare._dynamodb).add_response("update_item", {})
    drop(s3, b"environment: {id: CartPole-v1}\nseeds: [4, 7]\ncompute: {spot: false}")
    written: dict[str, bytes] = {}
    s3.add_response(
        "put_object",
        {},
        {
            "Bucket": "artifacts",
            "Key": "runs/cartpole-0123456789ab/run.json",
            "Body": ANY,
            "ContentType": "application/json",
        },
    )
    original = prepare._s3.put_object

    def put_object(**kwargs: Any) -> Any:
        written["run.json"] = kwargs["Body"]
        return original(**kwargs)

    monkeypatch.setattr(prepare._s3, "put_object", put_object)
    answer = prepare.handler(EVENT, None)

    assert answer["valid"] is True
    assert answer["endpoint"] == "cartpole"
    assert [(job["seed"], job["queue"], job["accelerator"]) for job in answer["training"]] == [
        (4, "cpu", "cpu"),
        (7, "cpu", "cpu"),
    ]
    run = ResolvedRun.model_validate_json(written["run.json"])
    assert run.source.version_id == "v1"
    assert run.specification.validation.min_return == 475


def test_the_model_registry_learns_what_a_policy_comes_from(stub: Stub) -> None:
    s3 = stub(prepare._s3)
    stub(prepare._dynamodb).add_response("update_item", {})
    drop(s3, b"environment: {id: CartPole-v1}\ntimesteps: 5000")
    s3.add_response("put_object", {})
    lineage = prepare.handler(EVENT, None)["lineage"]
    gymnasium = lineage.pop("version_gymnasium")
    assert lineage == {
        "specification": "s3://artifacts/runs/cartpole-0123456789ab/run.json",
        "source": "s3://input/cartpole/run.yaml",
        "source_version": "v1",
        "environment": "CartPole-v1",
        "algorithm": "ppo",
        "timesteps": "5000",
    }
    assert gymnasium[0].isdigit()


def test_a_refused_file_leaves_its_reasons_beside_it(stub: Stub) -> None:
    s3 = stub(prepare._s3)
    drop(s3, b"environment: {id: CartPole-v1}\ntimesteps: none")
    s3.add_response(
        "put_object",
        {},
        {"Bucket": "input", "Key": "cartpole/run.yaml.error.txt", "Body": ANY, "ContentType": "text/plain"},
    )
    answer = prepare.handler(EVENT, None)
    assert answer == {"valid": False, "reason": "timesteps: a whole number (given: 'none')"}


def test_of_a_huge_object_only_as_much_is_read_as_shows_that_it_is(stub: Stub) -> None:
    s3 = stub(prepare._s3)
    body = io.BytesIO(b"#" * (10 * MAX_RUN_FILE_BYTES))
    s3.add_response("get_object", {"Body": StreamingBody(body, 10 * MAX_RUN_FILE_BYTES)})
    s3.add_response("put_object", {})
    answer = prepare.handler(EVENT, None)
    assert answer["valid"] is False
    assert body.tell() == MAX_RUN_FILE_BYTES + 1


def test_the_answer_for_the_largest_run_stays_far_below_the_payload_limit(stub: Stub) -> None:
    s3 = stub(prepare._s3)
    stub(prepare._dynamodb).add_response("update_item", {})
    drop(s3, b"environment: {id: CartPole-v1}\nseeds: 32")
    s3.add_response("put_object", {})
    answer = prepare.handler({**EVENT, "run_id": "x" * 63}, None)
    assert len(json.dumps(answer)) < 16 * 1024


@pytest.fixture
def record_of_run(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """The run's record in a table of its own, after giving it these attributes if there are any."""
    client = run_table_of(prepare, request, monkeypatch)
    name = os.environ["RUN_TABLE"]

    def record(**attributes: Any) -> dict[str, Any]:
        if attributes:
            client.put_item(TableName=name, Item=to_item({"run_id": EVENT["run_id"], **attributes}))
        answer = client.get_item(TableName=name, Key=to_item({"run_id": EVENT["run_id"]}))
        return from_item(answer["Item"])

    return record


def prepare_once(s3: Stubber) -> None:
    drop(s3, b"environment: {id: CartPole-v1}\nseeds: [4, 7]\ncompute: {accelerator: gpu}\ntimesteps: 5000")
    s3.add_response("put_object", {})
    assert prepare.handler(EVENT, None)["valid"] is True


def test_the_record_says_what_the_run_is_to_do(stub: Stub, record_of_run: Callable[..., dict[str, Any]]) -> None:
    prepare_once(stub(prepare._s3))
    record = read_record(record_of_run(), now_ms=0)
    assert (record.state, record.wish, record.possible) == ("TRAINING", None, [Command.PAUSE, Command.STOP])
    assert (record.seeds, record.total_timesteps, record.price_per_hour) == ([4, 7], 5000, 1.0)
    assert record.endpoint_monthly_usd == 146
    assert (record.endpoint, record.artifacts) == ("cartpole", "s3://artifacts/runs/cartpole-0123456789ab")
    assert [(change.by, change.state) for change in record.history] == [("pipeline", "TRAINING")]


def test_a_retry_changes_nothing_of_the_record(stub: Stub, record_of_run: Callable[..., dict[str, Any]]) -> None:
    """By then the run may be paused, or over."""
    s3 = stub(prepare._s3)
    prepare_once(s3)
    before = record_of_run(**{**record_of_run(), "state": "STOPPED", "ended_at": "x"})
    prepare_once(s3)
    assert record_of_run() == before


def test_a_run_that_failed_here_and_is_resumed_gets_what_its_record_lacks(
    stub: Stub, record_of_run: Callable[..., dict[str, Any]]
) -> None:
    history = [{"at": "x", "by": "pipeline", "state": "FAILED"}, {"at": "y", "by": "pipeline", "state": "TRAINING"}]
    record_of_run(state="TRAINING", submitted_at="x", version=3, history=history)
    prepare_once(stub(prepare._s3))
    record = record_of_run()
    assert (record["history"], record["version"], record["submitted_at"]) == (history, 3, "x")
    assert (record["seeds"], record["jobs"], record["total_timesteps"]) == ([4, 7], {}, 5000)


WITH_DATA = b"environment: {id: CartPole-v1}\ndata: {kind: transitions, files: data/*.csv}"


def version(name: str, version_id: str, *, latest: bool = True) -> dict[str, Any]:
    return {"Key": f"cartpole/{name}", "VersionId": version_id, "IsLatest": latest, "Size": 7}


def listed(s3: Stubber, *versions: dict[str, Any]) -> None:
    expected = {"Bucket": "input", "Prefix": "cartpole/data/"}
    s3.add_response("list_object_versions", {"Versions": list(versions)}, expected)


def test_the_newest_versions_of_the_data_are_pinned_and_prepared_first(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, record_of_run: Callable[..., dict[str, Any]]
) -> None:
    s3 = stub(prepare._s3)
    drop(s3, WITH_DATA)
    old, new = version("data/a.csv", "a1", latest=False), version("data/a.csv", "a2")
    listed(s3, version("data/b.csv", "b1"), old, new, version("data/notes.txt", "n1"))
    written: list[dict[str, Any]] = []
    monkeypatch.setattr(prepare._s3, "put_object", lambda **request: written.append(request))
    assert prepare.handler(EVENT, None)["has_data"] is True
    run = ResolvedRun.model_validate_json(written[0]["Body"])
    assert [(one.key, one.version_id, one.bytes) for one in run.inputs] == [
        ("cartpole/data/a.csv", "a2", 7),
        ("cartpole/data/b.csv", "b1", 7),
    ]
    record = read_record(record_of_run(), now_ms=0)
    assert (record.state, record.possible) == ("PREPARING", [Command.STOP])


@pytest.mark.parametrize(
    ("content", "names", "said"),
    [
        (WITH_DATA, [], "- data.files: 1 to 10,000 files in cartpole/data/; 0 match; new ones start a run"),
        (WITH_DATA, ["data/notes.txt"], "0 match"),
        (WITH_DATA, [f"data/{number}.csv" for number in range(10_001)], "10,001 match"),
        (WITH_DATA[:-1] + b", marker: _SUCCESS}", ["data/a.csv"], "data/_SUCCESS is not there yet"),
    ],
)
def test_a_run_without_its_data_is_refused(stub: Stub, content: bytes, names: list[str], said: str) -> None:
    s3 = stub(prepare._s3)
    drop(s3, content)
    listed(s3, *(version(name, "v") for name in names))
    s3.add_response("put_object", {})
    answer = prepare.handler(EVENT, None)
    assert answer["valid"] is False
    assert said.removeprefix("- ") in answer["reason"]


@pytest.mark.parametrize(("prices", "valid"), [("", False), (', "tasks": 1, "task_hour": 0.02', True)])
def test_a_stage_without_services_refuses_the_target_ecs(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, prices: str, valid: bool
) -> None:
    monkeypatch.setenv("SERVING_PRICES", f'{{"instances": 2, "instance_hour": 0.1{prices}}}')
    monkeypatch.setattr(prepare, "_begin_record", lambda run, uri: None)
    s3 = stub(prepare._s3)
    drop(s3, b"environment: {id: CartPole-v1}\ndeploy: {target: ecs}")
    s3.add_response("put_object", {})
    answer = prepare.handler(EVENT, None)
    assert answer["valid"] is valid
    if valid:
        assert (answer["target"], answer["monthly_usd"]) == ("ecs", 14.6)
    else:
        assert "deploy.target" in answer["reason"]
        assert "serving.ecs in the stage's settings" in answer["reason"]
