"""A folder and an S3 prefix behave the same."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training_image.trainer.errors import UsageError
from training_image.trainer.storage import LocalStorage, S3Storage, Storage, open_storage


class Bucket:
    """The few S3 calls that the storage makes, on a dictionary; a page of a listing holds two keys."""

    class exceptions:  # noqa: N801 - boto3's name
        class NoSuchKey(Exception):  # noqa: N818
            pass

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def get_object(self, *, Bucket: str, Key: str) -> dict[str, Any]:  # noqa: N803
        if Key not in self.objects:
            raise self.exceptions.NoSuchKey

        class Body:
            def read(_self) -> bytes:  # noqa: N805
                return self.objects[Key]

        return {"Body": Body()}

    def put_object(self, *, Bucket: str, Key: str, Body: bytes) -> None:  # noqa: N803
        self.objects[Key] = Body

    def delete_objects(self, *, Bucket: str, Delete: dict[str, Any]) -> None:  # noqa: N803
        for item in Delete["Objects"]:
            del self.objects[item["Key"]]

    def get_paginator(self, name: str) -> Any:
        assert name == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> Iterator[dict[str, Any]]:  # noqa: N803
        keys = sorted(key for key in self.objects if key.startswith(Prefix))
        for first in range(0, len(keys), 2):
            yield {"Contents": [{"Key": key} for key in keys[first : first + 2]]}
        yield {}


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    if request.param == "folder":
        return LocalStorage(tmp_path / "runs" / "a")
    return S3Storage(bucket="artifacts", prefix="runs/a", client=Bucket())


def test_what_is_written_is_read_back(storage: Storage) -> None:
    storage.write("seed-0/model/policy", b"old")
    storage.write("seed-0/model/policy", b"new")
    assert storage.read("seed-0/model/policy") == b"new"
    assert storage.below("seed-0").below("model").read("policy") == b"new"


def test_what_is_not_there_is_none(storage: Storage) -> None:
    storage.write("a/b", b"")
    assert storage.read("a") is None
    assert storage.read("a/b/c") is None
    assert storage.read("missing") is None


def test_keys_are_those_below_a_folder(storage: Storage) -> None:
    for key in ("a/2", "a/1", "a/b/3", "ab/4"):
        storage.write(key, b"")
    assert storage.keys("a") == ["a/1", "a/2", "a/b/3"]
    assert storage.below("a").keys("") == ["1", "2", "b/3"]
    assert storage.keys("nothing") == []


def test_delete_removes_a_folder_and_nothing_else(storage: Storage) -> None:
    for key in ("a/1", "a/b/2", "ab/3"):
        storage.write(key, b"")
    storage.delete("a")
    storage.delete("never there")
    assert storage.keys("") == ["ab/3"]


def test_a_crash_while_writing_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = LocalStorage(tmp_path)
    storage.write("key", b"old")

    def crash(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", crash)
    with pytest.raises(OSError, match="disk full"):
        storage.write("key", b"new")
    assert storage.read("key") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_the_uri_chooses_the_kind(tmp_path: Path) -> None:
    s3 = open_storage("s3://bucket/runs/a/")
    assert isinstance(s3, S3Storage)
    assert s3.uri == "s3://bucket/runs/a"
    assert s3.below("seed-0").uri == "s3://bucket/runs/a/seed-0"
    assert isinstance(open_storage(str(tmp_path)), LocalStorage)


@pytest.mark.parametrize("uri", ["s3:///runs", "gs://bucket/runs"])
def test_another_uri_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="expected s3://bucket/prefix or a local folder"):
        open_storage(uri)
