"""What a run has left in S3."""

import json
from pathlib import Path
from typing import Any

from cli.deployment import Deployment
from cli.errors import error_code
from contract.layout import RunLayout


def read(deployment: Deployment, key: str) -> bytes | None:
    """An object of the artifacts bucket; None when it is not there (yet)."""
    from botocore.exceptions import ClientError

    try:
        return deployment.s3.get_object(Bucket=deployment.artifacts_bucket, Key=key)["Body"].read()
    except ClientError as error:
        if error_code(error) in ("NoSuchKey", "404"):
            return None
        raise


def read_json(deployment: Deployment, key: str) -> dict[str, Any] | None:
    """A document of the artifacts bucket; None when it is not there (yet)."""
    content = read(deployment, key)
    return None if content is None else json.loads(content)


def read_lines(deployment: Deployment, key: str) -> list[dict[str, Any]]:
    """The documents of an object that has one on each line; none when it is not there."""
    return [json.loads(line) for line in (read(deployment, key) or b"").splitlines()]


def list_keys(deployment: Deployment, prefix: str) -> set[str]:
    """The keys of the artifacts bucket that begin so, of the first thousand."""
    listed = deployment.s3.list_objects_v2(Bucket=deployment.artifacts_bucket, Prefix=prefix)
    return {item["Key"] for item in listed.get("Contents", [])}


def download(deployment: Deployment, key: str, path: Path) -> bool:
    """Copy an object to a file, making its folder; False when the object is not there."""
    content = read(deployment, key)
    if content is None:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return True


def places(deployment: Deployment, run_id: str) -> dict[str, str]:
    """Where everything of a run lies or will lie, by what it is."""
    layout = RunLayout(run_id=run_id)
    keys = {
        "all": f"{layout.prefix}/",
        "specification": layout.specification,
        "outcome": layout.outcome,
        "verdict": layout.verdict,
        "report": layout.report,
        "model": layout.model_archive,
    }
    return {name: f"s3://{deployment.artifacts_bucket}/{key}" for name, key in keys.items()}
