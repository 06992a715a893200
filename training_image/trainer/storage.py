"""Where artifacts are kept: a local folder or an S3 prefix, behind one interface.

Keys are relative, with `/` between their parts. A write is atomic: a reader sees the old bytes or the new ones,
never a part of them.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from contract.layout import CHECKPOINT_TAG, CHECKPOINTS
from training_image.trainer.errors import UsageError


class Storage(Protocol):
    """A place for artifacts."""

    @property
    def uri(self) -> str:
        """The place's name, as `open_storage` takes it."""
        ...

    def below(self, prefix: str) -> Self:
        """The same place, one folder down."""
        ...

    def read(self, key: str) -> bytes | None:
        """The bytes at a key, or None when there is nothing."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Put bytes at a key, whole or not at all."""
        ...

    def upload(self, key: str, path: Path) -> None:
        """Put a file of this machine at a key, whole or not at all; S3 takes 5 GB at once."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """All keys below a folder, sorted."""
        ...

    def delete(self, prefix: str) -> None:
        """Remove a folder and all that lies in it; one that is not there is fine."""
        ...


def open_storage(uri: str) -> Storage:
    """The storage at `s3://bucket/prefix`, or in a local folder.

    Raises:
        UsageError: when the URI has another scheme, or names no bucket.
    """
    parts = urlsplit(uri)
    if parts.scheme == "s3":
        if not parts.netloc:
            raise UsageError(f"{uri!r} names no bucket; expected s3://bucket/prefix or a local folder")
        return S3Storage(bucket=parts.netloc, prefix=parts.path.strip("/"))
    if "://" in uri:
        raise UsageError(f"{uri!r} has an unknown scheme; expected s3://bucket/prefix or a local folder")
    return LocalStorage(Path(uri))


class LocalStorage:
    """A folder on this machine, created by the first write."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def uri(self) -> str:
        return str(self._root)

    def below(self, prefix: str) -> Self:
        return type(self)(self._root / prefix)

    def read(self, key: str) -> bytes | None:
        try:
            return (self._root / key).read_bytes()
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None

    def write(self, key: str, data: bytes) -> None:
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=target.parent, prefix=_TEMPORARY)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp makes it private, artifacts are not
            os.replace(temporary, target)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def upload(self, key: str, path: Path) -> None:
        target = self._root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(_TEMPORARY + target.name)
        shutil.copyfile(path, temporary)
        os.replace(temporary, target)

    def keys(self, prefix: str) -> list[str]:
        files = (path for path in (self._root / prefix).rglob("*") if path.is_file())
        return sorted(str(path.relative_to(self._root)) for path in files if not path.name.startswith(_TEMPORARY))

    def delete(self, prefix: str) -> None:
        shutil.rmtree(self._root / prefix, ignore_errors=True)


_TEMPORARY = ".writing-"


class S3Storage:
    """A prefix of an S3 bucket. A put of an object is atomic in S3 itself."""

    def __init__(self, *, bucket: str, prefix: str, client: Any = None) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._client = client or _s3_client()

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    def below(self, prefix: str) -> Self:
        return type(self)(bucket=self._bucket, prefix=self._key(prefix), client=self._client)

    def read(self, key: str) -> bytes | None:
        try:
            body: bytes = self._client.get_object(Bucket=self._bucket, Key=self._key(key))["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        return body

    def write(self, key: str, data: bytes) -> None:
        path = self._key(key)
        # Checkpoints expire by their tag: a lifecycle rule cannot say "this folder of every run".
        tags = {"Tagging": "=".join(CHECKPOINT_TAG)} if CHECKPOINTS in path.split("/") else {}
        self._client.put_object(Bucket=self._bucket, Key=path, Body=data, **tags)

    def upload(self, key: str, path: Path) -> None:
        with path.open("rb") as file:
            self._client.put_object(Bucket=self._bucket, Key=self._key(key), Body=file)

    def keys(self, prefix: str) -> list[str]:
        start = len(self._prefix) + 1 if self._prefix else 0
        return sorted(key[start:] for key in self._objects(self._folder(prefix)))

    def delete(self, prefix: str) -> None:
        keys = self._objects(self._folder(prefix))
        for first in range(0, len(keys), 1000):  # the most that one call takes
            objects = [{"Key": key} for key in keys[first : first + 1000]]
            self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": objects, "Quiet": True})

    def _key(self, key: str) -> str:
        return f"{self._prefix}/{key}" if self._prefix else key

    def _folder(self, prefix: str) -> str:
        key = self._key(prefix).strip("/")
        return f"{key}/" if key else ""

    def _objects(self, prefix: str) -> list[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]


def _s3_client() -> Any:
    import boto3  # a fifth of a second that a local folder need not spend
    from botocore.config import Config

    return boto3.client("s3", config=Config(retries={"mode": "standard", "max_attempts": 8}))
