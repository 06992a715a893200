"""The files of a run, brought to this machine in exactly the versions that run.json names."""

import hashlib
from collections.abc import Sequence
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
    sha256: str
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
    """A file on this machine, with its hash."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return InputFile(name=name, path=path, bytes=path.stat().st_size, sha256=digest)


def matching(experiment: Path, names: Sequence[str]) -> list[InputFile]:
    """Files below a folder on this machine, by their names relative to it."""
    return [described(name, experiment / name) for name in sorted(names)]
