"""Which deployment a command talks to, and what is said when there is none."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError

from cli import deployment
from cli.deployment import find, running_instance, state_folder
from cli.errors import CliError
from contract.outcomes import ExitCode
from tests.unit.cli.conftest import Said
from tests.unit.cli.fake_aws import API_URL, INPUT, STATE_MACHINE, FakeAws, refusal

OUTPUTS = {
    "storage": {"InputBucketName": "in", "ArtifactsBucketName": "artifacts"},
    "pipeline": {"StateMachineArn": STATE_MACHINE},
    "api": {"ApiUrl": API_URL},
}


@pytest.fixture
def deployed(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    """Stages local, dev and prod, and nothing in the environment that names one."""
    for name in deployment.VARIABLES:
        monkeypatch.delenv(name)
    for stage in ("local", "dev", "prod"):
        aws.outputs |= {f"rlpipe-{stage}-{room}": {k: f"{v}" for k, v in o.items()} for room, o in OUTPUTS.items()}
    return aws


def _local_record(folder: Path, pid: int) -> None:
    (folder / ".rlpipe").mkdir(parents=True)
    (folder / ".rlpipe" / "local.json").write_text(json.dumps({"pid": pid, "endpoint_url": "http://127.0.0.1:4567"}))


def test_variables_come_first(aws: FakeAws, tmp_path: Path) -> None:
    _local_record(tmp_path, os.getpid())
    assert find().input_bucket == INPUT
    assert aws.calls == []


def test_some_variables_are_not_enough() -> None:
    with pytest.raises(
        CliError, match="RLPIPE_ARTIFACTS_BUCKET, RLPIPE_STATE_MACHINE_ARN, RLPIPE_API_URL is not"
    ) as refused:
        find(environment={"RLPIPE_INPUT_BUCKET": "in"})
    assert refused.value.exit_code == ExitCode.USAGE
    assert "rlpipe local env" in refused.value.next_step


def test_a_stage_does_not_silently_lose_to_variables(aws: FakeAws) -> None:
    with pytest.raises(CliError, match="--stage prod contradicts"):
        find("prod")


def test_this_machines_aws_is_taken_from_a_folder_below(deployed: FakeAws, tmp_path: Path) -> None:
    _local_record(tmp_path, os.getpid())
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    found = find(environment={}, folder=below)
    assert (found.stage, found.endpoint_url, found.is_local) == ("local", "http://127.0.0.1:4567", True)
    assert found.api_url == "http://127.0.0.1:4567/_aws/execute-api/abcdef1234/v1"


@pytest.mark.parametrize(("stage", "environment"), [("prod", {}), (None, {"AWS_PROFILE": "work"})])
def test_a_stage_or_profile_means_the_account(
    deployed: FakeAws, tmp_path: Path, stage: str | None, environment: dict[str, str]
) -> None:
    _local_record(tmp_path, os.getpid())
    found = find(stage, environment=environment, folder=tmp_path)
    assert (found.stage, found.endpoint_url, found.is_local) == (stage or "dev", None, False)


def test_an_aws_that_has_ended_is_passed_over(deployed: FakeAws, tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    _local_record(tmp_path, ended.pid)
    assert running_instance(tmp_path / ".rlpipe") is None
    assert find(environment={}, folder=tmp_path).stage == "dev"


def test_state_folder_may_be_named(tmp_path: Path) -> None:
    assert state_folder({"RLPIPE_STATE_DIR": str(tmp_path)}, Path("/")) == tmp_path


def test_endpoint_url_of_this_machine_means_stage_local(deployed: FakeAws, tmp_path: Path) -> None:
    assert find(environment={"AWS_ENDPOINT_URL": "http://localhost:4566"}, folder=tmp_path).stage == "local"


def test_no_deployment_says_how_to_make_one(deployed: FakeAws, rlpipe: Callable[..., Said]) -> None:
    said = rlpipe("runs", "--stage", "test")
    assert said.exit_code == 2
    assert "stage test is not deployed" in said.stderr
    assert "cdk deploy --all -c stage=test" in said.stderr


@pytest.mark.parametrize(
    ("error", "exit_code", "message", "next_step"),
    [
        (NoCredentialsError(), 2, "there are no AWS credentials", "rlpipe local up"),
        (refusal("ExpiredTokenException", "ListExecutions"), 2, "ListExecutions was refused", "aws sso login"),
        (refusal("AccessDeniedException", "ListExecutions"), 2, "ListExecutions was refused", "permission granted"),
        (EndpointConnectionError(endpoint_url="http://127.0.0.1:1"), 1, "Could not connect", "rlpipe local status"),
        (refusal("InternalError", "ListExecutions", status=500), 1, "ListExecutions was refused", "try again"),
    ],
)
def test_errors_of_aws_come_with_the_next_step(
    aws: FakeAws, rlpipe: Callable[..., Said], error: Exception, exit_code: int, message: str, next_step: str
) -> None:
    aws.failures = [error]
    said = rlpipe("show", "latest", "--json")
    assert said.exit_code == exit_code
    assert message in said.document["error"]["message"]
    assert next_step in said.document["error"]["next_step"]
    assert message in said.stderr


def test_real_clients_are_pointed_at_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    names = dict.fromkeys(deployment.VARIABLES, "x")
    found = find(environment={**names, "AWS_ENDPOINT_URL": "http://127.0.0.1:4640"})
    for client in (found.s3, found.states, found.batch, found.logs, found.sagemaker, found.sagemaker_runtime):
        assert client.meta.endpoint_url == "http://127.0.0.1:4640"
        assert client.meta.config.proxies == {}  # type: ignore[attr-defined]
