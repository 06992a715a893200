"""The judges' accepted findings, and what is refused at synthesis."""

import json
from collections.abc import Callable
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk import aws_batch as batch
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn

from stacks.governance.accepted import ACCEPTED
from stacks.governance.govern import govern, synthesise
from stacks.governance.judges import Finding, unaccepted
from tests.infra.conftest import Properties, Stage, Syntheses
from tests.infra.variants import STAGES, VARIANTS

EVERYTHING = (*STAGES, *VARIANTS)


@pytest.fixture(scope="module")
def found(syntheses: Syntheses) -> dict[str, list[Finding]]:
    """What cdk-nag finds, accepted or not."""
    return {name: syntheses.findings(name) for name in syntheses.all(EVERYTHING)}


@pytest.mark.parametrize("name", EVERYTHING)
def test_cdk_nag_finds_nothing_that_is_not_accepted(found: dict[str, list[Finding]], name: str) -> None:
    assert found[name], "cdk-nag did not look"
    objections = [f"{it.path}: {it.rule} {it.detail}"[:200] for it in unaccepted(found[name])]
    assert not objections


def test_every_row_accepts_a_finding_of_today(found: dict[str, list[Finding]]) -> None:
    everything = [finding for stage in found.values() for finding in stage]
    stale = [
        f"{row.path}: {row.rule} {row.finding}"
        for row in ACCEPTED
        if row.rule.startswith("AwsSolutions-")
        and not any(row.covers(it.path, it.rule, it.detail) for it in everything)
    ]
    assert not stale


def test_every_row_gives_a_reason() -> None:
    assert all(len(row.reason) > 20 for row in ACCEPTED)


def test_checkov_is_told_of_at_most_25_exceptions_each_with_its_reason(stages: dict[str, Stage]) -> None:
    reasons = {(row.rule, row.reason) for row in ACCEPTED if row.rule.startswith("CKV_")}
    assert len(reasons) <= 25
    for name in ("dev", "prod"):
        assert {(skip["id"], skip["comment"]) for _, skip in _skips(stages[name])} <= reasons


def test_every_row_for_checkov_is_used(stages: dict[str, Stage], switched: Stage) -> None:
    judged = (stages["dev"], stages["prod"], switched)
    told = {skip["comment"] for stage in judged for _, skip in _skips(stage)}
    assert told == {row.reason for row in ACCEPTED if row.rule.startswith("CKV_")}


def _skips(stage: Stage) -> list[tuple[str, Properties]]:
    return [
        (f"{room}/{logical_id}", skip)
        for room, template in stage.templates.items()
        for logical_id, resource in template["Resources"].items()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]


Offence = Callable[[cdk.Stack], object]


def _environment(stack: cdk.Stack, **changes: object) -> batch.CfnComputeEnvironment:
    resources = {
        "type": "SPOT",
        "maxvCpus": 16,
        "minvCpus": 0,
        "subnets": ["subnet-0123456789abcdef0"],
        "instanceTypes": ["g5.xlarge"],
        "ec2Configuration": [{"imageType": "ECS_AL2023_NVIDIA"}],
        **changes,
    }
    given = {key: value for key, value in resources.items() if value is not None}
    return batch.CfnComputeEnvironment(
        stack, "Environment", type="MANAGED", compute_resources=given, replace_compute_environment=False
    )


def _definition(stack: cdk.Stack, *, vcpus: int = 4, timeout: int | None = 60, retries: bool = True) -> None:
    _environment(stack)
    batch.CfnJobDefinition(
        stack,
        "Job",
        type="container",
        timeout=batch.CfnJobDefinition.TimeoutProperty(attempt_duration_seconds=timeout) if timeout else None,
        retry_strategy=batch.CfnJobDefinition.RetryStrategyProperty(
            attempts=3,
            evaluate_on_exit=[
                batch.CfnJobDefinition.EvaluateOnExitProperty(action="RETRY", on_status_reason="Host EC2*")
            ],
        )
        if retries
        else None,
        container_properties=batch.CfnJobDefinition.ContainerPropertiesProperty(
            image="registry/image",
            resource_requirements=[
                batch.CfnJobDefinition.ResourceRequirementProperty(type="VCPU", value=str(vcpus)),
                batch.CfnJobDefinition.ResourceRequirementProperty(type="MEMORY", value="2048"),
            ],
        ),
    )


def _public_bucket(stack: cdk.Stack) -> None:
    s3.CfnBucket(
        stack,
        "Bucket",
        public_access_block_configuration=s3.CfnBucket.PublicAccessBlockConfigurationProperty(block_public_acls=True),
    )


def _readable_by_all(stack: cdk.Stack) -> None:
    bucket = s3.Bucket(stack, "Bucket", block_public_access=s3.BlockPublicAccess.BLOCK_ALL)
    s3.CfnBucketPolicy(
        stack,
        "Policy",
        bucket=bucket.bucket_name,
        policy_document={
            "Statement": [
                {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": bucket.bucket_arn}
            ]
        },
    )


def _image(stack: cdk.Stack) -> None:
    folder = Path(__file__).parents[2] / "serving_image"
    ecr_assets.DockerImageAsset(stack, "Image", directory=str(folder), exclude=["**/*.py", "__pycache__"])


OFFENCES: dict[str, tuple[Offence, str]] = {
    "retired family": (lambda it: _environment(it, instanceTypes=["p2.xlarge"]), "p2.xlarge is retired, K80"),
    "V100 in the usual environment": (
        lambda it: _environment(it, instanceTypes=["p3.2xlarge"]),
        "p3.2xlarge is retired, V100",
    ),
    "retired image": (
        lambda it: _environment(it, ec2Configuration=[{"imageType": "ECS_AL2_NVIDIA"}]),
        "AWS ended its support for ECS_AL2_NVIDIA",
    ),
    "image of the day": (lambda it: _environment(it, ec2Configuration=None), "no machine image is named"),
    "Spot without resume": (
        lambda it: _definition(it, retries=False),
        "not tried again when its instance is reclaimed",
    ),
    "job too large": (lambda it: _definition(it, vcpus=64), "fit no instance of any environment"),
    "no cap on vCPUs": (lambda it: _environment(it, maxvCpus=100_000), "MaxvCpus must be between 1 and 512"),
    "instances that never go": (lambda it: _environment(it, minvCpus=4), "MinvCpus must be 0"),
    "job without timeout": (lambda it: _definition(it, timeout=None), "a job without a timeout"),
    "queue that never gives up": (
        lambda it: batch.JobQueue(
            it,
            "Queue",
            compute_environments=[
                batch.OrderedComputeEnvironment(
                    order=1,
                    compute_environment=batch.FargateComputeEnvironment(
                        it, "Fargate", vpc=ec2.Vpc(it, "Vpc", max_azs=1, nat_gateways=0), maxv_cpus=4
                    ),
                )
            ],
        ),
        "must cancel jobs that wait in RUNNABLE",
    ),
    "log for ever": (lambda it: logs.CfnLogGroup(it, "Log"), "a log without a retention"),
    "execution for ever": (
        lambda it: sfn.StateMachine(
            it,
            "Machine",
            definition_body=sfn.DefinitionBody.from_string('{"StartAt": "A", "States": {"A": {"Type": "Succeed"}}}'),
        ),
        "an execution without TimeoutSeconds",
    ),
    "public bucket": (_public_bucket, "block_public_access must be BLOCK_ALL"),
    "bucket anybody may read": (_readable_by_all, "it allows anybody"),
    "physical name": (
        lambda it: s3.Bucket(it, "Bucket", bucket_name="policies", block_public_access=s3.BlockPublicAccess.BLOCK_ALL),
        "BucketName is set; CloudFormation could not replace it",
    ),
    "image for whatever processor": (_image, "Dockerfile: without a platform"),
}


def _app(folder: Path) -> cdk.App:
    """An app that is judged by what we give it alone."""
    return cdk.App(outdir=str(folder), analytics_reporting=False, builtin_cloud_formation_validation=False)


@pytest.mark.parametrize("offence", OFFENCES)
def test_synthesis_stops_with_one_sentence(offence: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    offend, sentence = OFFENCES[offence]
    app = _app(tmp_path)
    offend(cdk.Stack(app, "offending"))
    govern(app, judge=False)
    with pytest.raises(SystemExit) as stopped:
        synthesise(app)
    assert stopped.value.code == 1
    report = json.loads((tmp_path / "validation-report.json").read_text())
    said = [violation["description"] for plugin in report["pluginReports"] for violation in plugin["violations"]]
    assert [text for text in said if sentence in text], said


def test_an_unknown_finding_of_cdk_nag_stops_the_synthesis(tmp_path: Path) -> None:
    app = _app(tmp_path)
    ec2.Vpc(cdk.Stack(app, "offending"), "Vpc", max_azs=1, nat_gateways=0)
    govern(app, judge=True)
    with pytest.raises(SystemExit):
        synthesise(app)
    assert "AwsSolutions-VPC7" in (tmp_path / "validation-report.json").read_text()


def test_what_is_sound_is_not_refused(tmp_path: Path) -> None:
    app = _app(tmp_path)
    _definition(cdk.Stack(app, "sound"))
    govern(app, judge=False)
    synthesise(app)
