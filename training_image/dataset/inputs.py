"""The files of a run, brought to this machine in exactly the versions that run.json names."""

import hashlib
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from contract.run import ResolvedRun


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file of the run, on this machine. `refused` when it is known already that it cannot be used."""

    name: str
    path: Path
    bytes: int
    refused: str | None = None


def fetch(run: ResolvedRun, folder: Path, client: Any = None) -> list[InputFile]:
    """Download the run's inputs, in the order of their keys."""
    if client is None:
        import boto3

        client = boto3.client("s3")
    folder.mkdir(parents=True, exist_ok=True)
    beside = PurePosixPath(run.source.key).parent
    found = []
    for number, one in enumerate(run.inputs):
        path = folder / f"{number:05d}"
        client.download_file(run.source.bucket, one.key, str(path), ExtraArgs={"VersionId": one.version_id})
        found.append(described(str(PurePosixPath(one.key).relative_to(beside)), path))
    return found


def described(name: str, path: Path) -> InputFile:
    """A file on this machine."""
    return InputFile(name=name, path=path, bytes=path.stat().st_size)


def hashes(inputs: Sequence[InputFile]) -> dict[str, Future[str]]:
    """The SHA-256 of each file, by its name; a thread finds them while the files are read."""
    pool = ThreadPoolExecutor(1)
    found = {one.name: pool.submit(sha256, one.path) for one in inputs}
    pool.shutdown(wait=False)
    return found


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
