"""Training and validation in containers whose artifacts lie in S3, on the embedded AWS."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.layout import MODEL_ARCHIVE, SPECIFICATION, VERDICT
from tests.conformance.embedded import Instance
from tests.image.building import Image
from tests.image.docker import HOST_NETWORK, run
from tests.image.runs import prepare
from tests.unit.training_image.helpers import fingerprint

_BUCKET = "artifacts-of-containers"
_PREFIX = "runs/small"


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(tmp_path / "aws")
    yield instance
    instance.stop()


def test_artifacts_in_s3_are_those_of_a_local_folder(
    training: Image, aws: Instance, finished_run: Path, tmp_path: Path
) -> None:
    aws.s3.create_bucket(Bucket=_BUCKET)
    prepare(tmp_path / "prepared")
    aws.s3.upload_file(str(tmp_path / "prepared" / SPECIFICATION), _BUCKET, f"{_PREFIX}/{SPECIFICATION}")
    variables = {
        "AWS_ENDPOINT_URL": aws.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    options = (HOST_NETWORK, *(f"--env={name}={value}" for name, value in variables.items()))
    uri = f"s3://{_BUCKET}/{_PREFIX}"
    for command in (
        ("training_image/train_rl.py", "--run", uri, "--seed", "0"),
        ("training_image/validate_rl.py", "--run", uri),
    ):
        done = run(training.identifier, *command, options=options)
        assert done.returncode == 0, done.stdout + done.stderr

    keys = _download(aws, tmp_path / "run")

    assert {VERDICT, MODEL_ARCHIVE} <= keys
    assert fingerprint(tmp_path / "run" / "seed-0") == fingerprint(finished_run / "seed-0")


def _download(aws: Instance, folder: Path) -> set[str]:
    """Everything of the run; answers the keys, relative to its prefix."""
    keys = set()
    for page in aws.s3.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET, Prefix=_PREFIX):
        for item in page["Contents"]:
            key = item["Key"].removeprefix(f"{_PREFIX}/")
            (folder / key).parent.mkdir(parents=True, exist_ok=True)
            aws.s3.download_file(_BUCKET, item["Key"], str(folder / key))
            keys.add(key)
    return keys
