"""Files that come together start one run, when no more come; whatever is delivered again starts nothing."""

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contract.layout import experiment_of, run_files_beside, run_id_of
from lambdas.data_arrived import handler as arrived
from lambdas.items import from_item

RUN_FILE = "environment: {id: CartPole-v1}\ndata: {kind: transitions}\n"
MARKED = "environment: {id: CartPole-v1}\ndata: {kind: transitions, marker: _SUCCESS}\n"
START = datetime(2026, 11, 25, 12, tzinfo=UTC)


class World:
    """The bucket, the table, the queue and the state machine, as far as this function sees them."""

    class Missing(Exception):  # noqa: N818
        pass

    class Conflict(Exception):  # noqa: N818
        pass

    class Exists(Exception):  # noqa: N818
        pass

    def __init__(self) -> None:
        self.run_files: dict[str, tuple[str, datetime, str]] = {}
        self.data: dict[str, datetime] = {}
        self.noted: dict[str, str] = {}
        self.messages: list[tuple[str, int]] = []
        self.started: dict[str, dict[str, Any]] = {}
        names = {"NoSuchKey": self.Missing, "ConditionalCheckFailedException": self.Conflict}
        self.exceptions = type("Exceptions", (), {**names, "ExecutionAlreadyExists": self.Exists})

    def drop_run_file(self, key: str, content: str, at: datetime = START) -> None:
        self.run_files[key] = (f"run-file-{at:%H%M%S}", at, content)

    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if Key not in self.run_files:
            raise self.Missing
        version, modified, content = self.run_files[Key]
        return {"VersionId": version, "LastModified": modified, "Body": io.BytesIO(content.encode())}

    def update_item(self, **call: Any) -> None:
        key, rank = call["Key"]["run_id"]["S"], from_item(call["ExpressionAttributeValues"])[":rank"]
        if self.noted.get(key, "") > rank:
            raise self.Conflict
        self.noted[key] = rank

    def get_item(self, **call: Any) -> dict[str, Any]:
        rank = self.noted.get(call["Key"]["run_id"]["S"])
        return {"Item": {"newest": {"S": rank}}} if rank else {}

    def send_message(self, QueueUrl: str, MessageBody: str, DelaySeconds: int) -> None:  # noqa: N803
        self.messages.append((MessageBody, DelaySeconds))

    def get_paginator(self, _: str) -> "World":
        return self

    def paginate(self, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803
        found = [{"Key": key, "LastModified": at} for key, at in self.data.items() if key.startswith(Prefix)]
        return [{"Contents": found}]

    def start_execution(self, stateMachineArn: str, name: str, input: str) -> None:  # noqa: N803
        if name in self.started:
            raise self.Exists
        self.started[name] = json.loads(input)

    def arrive(self, key: str, seconds: float, version: str = "v1") -> dict[str, Any]:
        at = START + timedelta(seconds=seconds)
        self.data[key] = at + timedelta(milliseconds=437)  # a listing may be more exact than an event
        detail = {"bucket": {"name": "input"}, "object": {"key": key, "version-id": version}}
        return arrived.handler({"time": at.strftime("%Y-%m-%dT%H:%M:%SZ"), "detail": detail}, None)

    def deliver(self) -> dict[str, Any]:
        """Every message that waits, also those that were delivered before."""
        records = [{"messageId": str(n), "body": body} for n, (body, _) in enumerate(self.messages)]
        return arrived.handler({"Records": records}, None)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    for client in ("_s3", "_dynamodb", "_sqs", "_states"):
        monkeypatch.setattr(arrived, client, world)
    for name, value in (
        ("STATE_MACHINE_ARN", "arn"),
        ("RUN_TABLE", "runs"),
        ("QUEUE_URL", "url"),
        ("QUIET_SECONDS", "60"),
    ):
        monkeypatch.setenv(name, value)
    world.drop_run_file("battery/run.yaml", RUN_FILE)
    return world


def test_a_burst_of_files_starts_one_run_named_by_the_last(world: World) -> None:
    for number in range(50):
        world.arrive(f"battery/data/part-{number:02d}.csv", 10 + number)
    assert {wait for _, wait in world.messages} == {60}
    assert world.deliver() == {"batchItemFailures": []}
    run_id = run_id_of("input", "battery/data/part-49.csv", "v1", run_file="battery/run.yaml")
    assert run_id.startswith("battery-")
    assert world.started == {
        run_id: {
            "run_id": run_id,
            "experiment": "battery",
            "bucket": "input",
            "key": "battery/run.yaml",
            "version_id": "run-file-120000",
        }
    }


def test_events_in_any_order_and_as_often_as_may_be_start_one_run(world: World) -> None:
    for number in (3, 0, 4, 1, 4, 2, 0):
        world.arrive(f"battery/data/part-{number}.csv", 10 + number)
    world.deliver()
    world.deliver()
    for number in range(5):
        world.arrive(f"battery/data/part-{number}.csv", 10 + number)
    world.deliver()
    assert list(world.started) == [run_id_of("input", "battery/data/part-4.csv", "v1", run_file="battery/run.yaml")]


def test_files_of_one_second_start_one_run(world: World) -> None:
    for number in range(5):
        world.arrive(f"battery/data/part-{number}.csv", 10)
    world.deliver()
    assert len(world.started) == 1


def test_files_whose_events_are_late_are_waited_for(world: World) -> None:
    """A busy account may deliver the first event of a burst a minute before the last."""
    world.data["battery/data/z.csv"] = START + timedelta(seconds=10)
    world.arrive("battery/data/a.csv", 10)
    world.deliver()
    assert world.started == {}
    world.arrive("battery/data/z.csv", 10)
    world.deliver()
    assert len(world.started) == 1


def test_a_large_file_whose_upload_began_before_others_starts_a_run_when_it_is_complete(world: World) -> None:
    """S3 gives a file that was uploaded in parts the time at which its upload began."""
    world.arrive("battery/data/small.csv", 30)
    world.deliver()
    world.arrive("battery/data/large.csv", 600)
    world.data["battery/data/large.csv"] = START + timedelta(seconds=10)
    world.deliver()
    assert len(world.started) == 2


def test_new_data_later_start_another_run(world: World) -> None:
    world.arrive("battery/data/a.csv", 10)
    world.deliver()
    world.arrive("battery/data/b.csv", 500)
    world.deliver()
    world.arrive("battery/data/a.csv", 900, version="v2")
    world.deliver()
    assert len(world.started) == 3


def test_a_run_file_dropped_after_the_data_starts_its_own_run_only(world: World) -> None:
    """As `rlpipe submit FOLDER` does: its run has the data already."""
    world.arrive("battery/data/a.csv", 10)
    world.drop_run_file("battery/run.yaml", RUN_FILE, START + timedelta(seconds=11))
    world.deliver()
    assert world.started == {}


def test_data_without_a_run_file_or_that_it_does_not_want_start_nothing(world: World) -> None:
    world.drop_run_file("cartpole/run.yaml", "environment: {id: CartPole-v1}")
    world.drop_run_file("picky/run.yaml", RUN_FILE.replace("transitions", "transitions, files: data/*.parquet"))
    for key in ("nothing/data/a.csv", "cartpole/data/a.csv", "picky/data/a.csv", "battery/data/.DS_Store"):
        assert world.arrive(key, 10)["noted"] is False
    assert world.messages == []


def test_with_a_marker_only_the_marker_starts_a_run_and_soon(world: World) -> None:
    world.drop_run_file("battery/run.yaml", MARKED)
    assert world.arrive("battery/data/a.csv", 10)["noted"] is False
    assert world.arrive("battery/data/_SUCCESS", 20)["noted"] is True
    assert world.arrive("battery/data/b.csv", 22)["noted"] is False
    assert [wait for _, wait in world.messages] == [arrived.MARKER_SECONDS]
    world.deliver()
    assert len(world.started) == 1


def test_a_wrong_run_file_is_started_and_will_say_so(world: World) -> None:
    world.drop_run_file("battery/run.yaml", "environment: {id: Nothing-v0}")
    world.arrive("battery/data/a.csv", 10)
    world.deliver()
    assert len(world.started) == 1


def test_the_run_file_nearest_to_the_data_counts(world: World) -> None:
    assert run_files_beside("a/data/b/data/c.csv") == ["a/data/b/run.yaml", "a/run.yaml"]
    assert run_files_beside("data/c.csv") == ["run.yaml"]
    assert run_files_beside("a/database/c.csv") == []
    assert run_files_beside("a/data") == []
    world.drop_run_file("a/data/b/run.yaml", RUN_FILE)
    world.drop_run_file("a/run.yaml", RUN_FILE)
    world.arrive("a/data/b/data/c.csv", 10)
    world.deliver()
    (start,) = world.started.values()
    assert (start["key"], start["experiment"]) == ("a/data/b/run.yaml", experiment_of("a/data/b/run.yaml"))


def test_a_message_that_fails_comes_again_and_the_others_do_not(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.drop_run_file("load/run.yaml", RUN_FILE)
    world.arrive("battery/data/a.csv", 10)
    world.arrive("load/data/a.csv", 10)
    get_item = world.get_item

    def throttled(**call: Any) -> dict[str, Any]:
        if "battery" in call["Key"]["run_id"]["S"]:
            raise RuntimeError("throttled")
        return get_item(**call)

    monkeypatch.setattr(world, "get_item", throttled)
    assert world.deliver() == {"batchItemFailures": [{"itemIdentifier": "0"}]}
    assert [start["experiment"] for start in world.started.values()] == ["load"]
