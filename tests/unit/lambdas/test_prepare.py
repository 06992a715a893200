"""A run file is resolved into run.json and pointers, or refused with its reasons beside it."""

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber

from contract.control import Command
from contract.record import read_record
from contract.run import MAX_RUN_FILE_BYTES, ResolvedRun
from lambdas.items import from_item
from lambdas.prepare import handler as prepare

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


def drop(s3: Stubber, content: bytes) -> None:
    s3.add_response(
        "get_object",
        {"Body": StreamingBody(io.BytesIO(content), len(content))},
        {"Bucket": "input", "Key": "cartpole/run.yaml", "VersionId": "v1"},
    )


def test_a_good_file_is_resolved_and_pointed_to(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = stub(prepare._s3)
    stub(prepare._dynamodb).add_response("put_item", {})
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
    stub(prepare._dynamodb).add_response("put_item", {})
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
    stub(prepare._dynamodb).add_response("put_item", {})
    drop(s3, b"environment: {id: CartPole-v1}\nseeds: 32")
    s3.add_response("put_object", {})
    answer = prepare.handler({**EVENT, "run_id": "x" * 63}, None)
    assert len(json.dumps(answer)) < 16 * 1024


def test_the_run_is_put_into_the_run_table_once(stub: Stub) -> None:
    """The function may be retried; by then the run may be paused, or over."""
    s3, table = stub(prepare._s3), stub(prepare._dynamodb)
    for again in (False, True):
        drop(s3, b"environment: {id: CartPole-v1}\nseeds: [4, 7]\ncompute: {accelerator: gpu}")
        s3.add_response("put_object", {})
        expected = {"TableName": "runs", "Item": ANY, "ConditionExpression": "attribute_not_exists(run_id)"}
        if again:
            table.add_client_error("put_item", "ConditionalCheckFailedException", expected_params=expected)
        else:
            table.add_response("put_item", {}, expected)
        assert prepare.handler(EVENT, None)["valid"] is True


def test_the_record_says_what_the_run_is_to_do(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    s3 = stub(prepare._s3)
    drop(s3, b"environment: {id: CartPole-v1}\nseeds: [4, 7]\ncompute: {accelerator: gpu}\ntimesteps: 5000")
    s3.add_response("put_object", {})
    put: list[dict[str, Any]] = []
    monkeypatch.setattr(prepare._dynamodb, "put_item", lambda **request: put.append(request))
    prepare.handler(EVENT, None)
    record = read_record(from_item(put[0]["Item"]), now_ms=0)
    assert (record.state, record.wish, record.possible) == ("TRAINING", None, [Command.PAUSE, Command.STOP])
    assert (record.seeds, record.total_timesteps, record.price_per_hour) == ([4, 7], 5000, 1.0)
    assert (record.endpoint, record.artifacts) == ("cartpole", "s3://artifacts/runs/cartpole-0123456789ab")
    assert [(change.by, change.state) for change in record.history] == [("pipeline", "TRAINING")]
