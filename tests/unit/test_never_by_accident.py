"""No test reaches an AWS account unless it is told which, and nothing that we run tells anybody of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--aws", "123456789012", "tests/unit/test_never_by_accident.py"], "--aws is for tests/conformance alone"),
        (["--aws", "123456789012", "tests/conformance/test_topics.py"], "NoCredentials|Unable to locate credentials"),
    ],
)
def test_a_real_account_is_for_the_conformance_suite_and_needs_credentials(words: list[str], said: str) -> None:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")}
    environment = {
        **kept,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *words],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert any(part in done.stdout + done.stderr for part in said.split("|")), done.stdout[-2000:] + done.stderr


@pytest.mark.parametrize("package", ["serving_image", "training_image.trainer"])
def test_onnx_runtime_keeps_no_id_of_this_machine(tmp_path: Path, package: str) -> None:
    """It makes one, for what it sends to its makers, as soon as it is imported, unless it was told not to."""
    environment = {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"]}
    code = f"import {package}, onnxruntime; onnxruntime.SessionOptions()"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert list(tmp_path.rglob("*")) == []
