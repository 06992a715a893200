"""What no stage may contain, whoever wrote it: `cdk synth` stops with one sentence for each.

The settings are checked before, by their model, and say it in the settings' words. These rules read the templates that
come out, so a construct that forgets a limit is refused as well. They keep to the refusals that matter most: costs
without an end, data in the open, and what CloudFormation accepts but could not run or replace.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import jsii

from config.instances import CPU_INSTANCES, GPU_INSTANCES, MAX_VCPUS, VOLTA_INSTANCES, retired

_IMAGES_WITHOUT_SUPPORT = {"ECS_AL1", "ECS_AL2", "ECS_AL2_NVIDIA", "EKS_AL2", "EKS_AL2_NVIDIA"}
_KNOWN = {**CPU_INSTANCES, **GPU_INSTANCES, **VOLTA_INSTANCES}

# CloudFormation makes the second before it deletes the first, which a fixed name forbids.
_NAMES = {
    "AWS::Batch::ComputeEnvironment": "ComputeEnvironmentName",
    "AWS::Batch::JobDefinition": "JobDefinitionName",
    "AWS::Batch::JobQueue": "JobQueueName",
    "AWS::CodeBuild::Project": "Name",
    "AWS::EC2::LaunchTemplate": "LaunchTemplateName",
    "AWS::EC2::SecurityGroup": "GroupName",
    "AWS::Events::Rule": "Name",
    "AWS::IAM::InstanceProfile": "InstanceProfileName",
    "AWS::IAM::Role": "RoleName",
    "AWS::Lambda::Function": "FunctionName",
    "AWS::Logs::LogGroup": "LogGroupName",
    "AWS::S3::Bucket": "BucketName",
    "AWS::SNS::Topic": "TopicName",
    "AWS::SQS::Queue": "QueueName",
    "AWS::StepFunctions::StateMachine": "StateMachineName",
}


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One resource of a template."""

    template: str
    logical_id: str
    type: str
    properties: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Assembly:
    """Everything that was synthesised.

    Attributes:
        images: the image assets, by template: the `source` of each.
    """

    resources: list[Resource]
    images: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def of(self, kind: str) -> Iterator[Resource]:
        """The resources of one type."""
        return (resource for resource in self.resources if resource.type == kind)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """One sentence about one resource; `where` is a logical id, or the folder of an image."""

    rule: str
    template: str
    where: str
    sentence: str


def read(template_paths: list[str]) -> Assembly:
    """Read templates and the lists of assets beside them."""
    resources, images = [], []
    for path in map(Path, template_paths):
        for logical_id, resource in json.loads(path.read_text()).get("Resources", {}).items():
            properties = resource.get("Properties", {})
            resources.append(
                Resource(template=str(path), logical_id=logical_id, type=resource["Type"], properties=properties)
            )
        assets = path.with_name(path.name.replace(".template.json", ".assets.json"))
        if assets.is_file():
            for image in json.loads(assets.read_text()).get("dockerImages", {}).values():
                images.append((str(path), image["source"]))
    return Assembly(resources=resources, images=images)


def _retired_instances(assembly: Assembly) -> Iterator[Refusal]:
    for environment in assembly.of("AWS::Batch::ComputeEnvironment"):
        compute = _compute(environment)
        own_image = any("ImageIdOverride" in item for item in compute.get("Ec2Configuration", []))
        for type_ in compute.get("InstanceTypes", []):
            reason = retired(str(type_))
            if reason and not (type_ in VOLTA_INSTANCES and own_image):
                yield _refuse("retired-instance-family", environment, f"{type_} is retired, {reason}.")


def _retired_images(assembly: Assembly) -> Iterator[Refusal]:
    for environment in assembly.of("AWS::Batch::ComputeEnvironment"):
        configurations = _compute(environment).get("Ec2Configuration", [])
        if not configurations:
            yield _refuse(
                "image-not-named", environment, "no machine image is named, so Batch's default of the day is taken."
            )
        for configuration in configurations:
            image = configuration.get("ImageType")
            if image in _IMAGES_WITHOUT_SUPPORT and "ImageIdOverride" not in configuration:
                yield _refuse(
                    "retired-machine-image",
                    environment,
                    f"AWS ended its support for {image} and creates no environment with it; use ECS_AL2023.",
                )


def _spot_without_retries(assembly: Assembly) -> Iterator[Refusal]:
    if not any(
        _compute(environment).get("Type") == "SPOT" for environment in assembly.of("AWS::Batch::ComputeEnvironment")
    ):
        return
    for definition in assembly.of("AWS::Batch::JobDefinition"):
        rules = definition.properties.get("RetryStrategy", {}).get("EvaluateOnExit", [])
        retried = [rule for rule in rules if str(rule.get("Action", "")).upper() == "RETRY"]
        if not any(str(rule.get("OnStatusReason", "")).startswith("Host EC2") for rule in retried):
            yield _refuse(
                "spot-without-resume",
                definition,
                "there is a Spot environment, but this job is not tried again when its instance is reclaimed.",
            )


def _jobs_too_large(assembly: Assembly) -> Iterator[Refusal]:
    types = {
        str(type_)
        for environment in assembly.of("AWS::Batch::ComputeEnvironment")
        for type_ in _compute(environment).get("InstanceTypes", [])
    }
    offered = [_KNOWN[type_] for type_ in types if type_ in _KNOWN]
    if not offered:
        return
    for definition in assembly.of("AWS::Batch::JobDefinition"):
        size = {
            item["Type"]: int(item["Value"])
            for item in definition.properties.get("ContainerProperties", {}).get("ResourceRequirements", [])
        }
        vcpus, memory, gpus = size.get("VCPU", 0), size.get("MEMORY", 0), size.get("GPU", 0)
        if not any(vcpus <= it.vcpus and memory <= it.memory_mib and gpus <= it.gpus for it in offered):
            yield _refuse(
                "job-larger-than-any-instance",
                definition,
                f"{vcpus} vCPUs, {memory} MiB and {gpus} GPUs fit no instance of any environment; the job would wait "
                "in RUNNABLE for ever.",
            )


def _missing_caps(assembly: Assembly) -> Iterator[Refusal]:
    for environment in assembly.of("AWS::Batch::ComputeEnvironment"):
        compute = _compute(environment)
        if not 0 < _number(compute.get("MaxvCpus")) <= MAX_VCPUS:
            yield _refuse("missing-cap", environment, f"MaxvCpus must be between 1 and {MAX_VCPUS}.")
        if _number(compute.get("MinvCpus")) != 0:
            yield _refuse(
                "missing-cap", environment, "MinvCpus must be 0: instances would be paid for while no job runs."
            )
    for definition in assembly.of("AWS::Batch::JobDefinition"):
        if not definition.properties.get("Timeout", {}).get("AttemptDurationSeconds"):
            yield _refuse("missing-cap", definition, "a job without a timeout may run, and be paid for, for ever.")
    for queue in assembly.of("AWS::Batch::JobQueue"):
        if len(queue.properties.get("JobStateTimeLimitActions", [])) < 3:
            yield _refuse(
                "missing-cap", queue, "a queue must cancel jobs that wait in RUNNABLE, for each of the three reasons."
            )
    for group in assembly.of("AWS::Logs::LogGroup"):
        if not group.properties.get("RetentionInDays"):
            yield _refuse("missing-cap", group, "a log without a retention is kept, and paid for, for ever.")
    for machine in assembly.of("AWS::StepFunctions::StateMachine"):
        text = machine.properties.get("DefinitionString")
        if isinstance(text, str) and "TimeoutSeconds" not in json.loads(text):
            yield _refuse("missing-cap", machine, "an execution without TimeoutSeconds may wait for ever.")


def _public_buckets(assembly: Assembly) -> Iterator[Refusal]:
    for bucket in assembly.of("AWS::S3::Bucket"):
        blocked = bucket.properties.get("PublicAccessBlockConfiguration", {})
        if [value for value in blocked.values() if value is True] != [True] * 4:
            yield _refuse("public-bucket", bucket, "block_public_access must be BLOCK_ALL.")
        if bucket.properties.get("AccessControl", "Private") not in {"Private", "LogDeliveryWrite"}:
            yield _refuse("public-bucket", bucket, f"its access control is {bucket.properties['AccessControl']}.")
    for allowing in assembly.of("AWS::S3::BucketPolicy"):
        for statement in allowing.properties["PolicyDocument"]["Statement"]:
            anybody = statement.get("Principal") in ("*", {"AWS": "*"})
            if statement["Effect"] == "Allow" and anybody and "Condition" not in statement:
                yield _refuse("public-bucket", allowing, "it allows anybody.")


def _physical_names(assembly: Assembly) -> Iterator[Refusal]:
    for resource in assembly.resources:
        name = _NAMES.get(resource.type)
        if name and name in resource.properties:
            yield _refuse(
                "physical-name",
                resource,
                f"{name} is set; CloudFormation could not replace it, nor a second stage be deployed beside it.",
            )


def _images_without_platform(assembly: Assembly) -> Iterator[Refusal]:
    for template, source in assembly.images:
        if not source.get("platform"):
            dockerfile = source.get("dockerFile", "Dockerfile")
            yield Refusal(
                rule="image-without-platform",
                template=template,
                where=dockerfile,
                sentence=f"{dockerfile}: without a platform the image is built for the processor of whoever deploys.",
            )


RULES: tuple[Callable[[Assembly], Iterator[Refusal]], ...] = (
    _retired_instances,
    _retired_images,
    _spot_without_retries,
    _jobs_too_large,
    _missing_caps,
    _public_buckets,
    _physical_names,
    _images_without_platform,
)


def refusals(assembly: Assembly) -> list[Refusal]:
    """Everything that must not be deployed."""
    return [refusal for rule in RULES for refusal in rule(assembly)]


@jsii.implements(cdk.IPolicyValidationPlugin)
class Refusals:
    """Stops the synthesis with the sentences above."""

    @property
    def name(self) -> str:
        return "rlpipe"

    @property
    def version(self) -> str | None:
        return None

    @property
    def rule_ids(self) -> list[str] | None:
        return None

    def validate(self, context: cdk.IPolicyValidationContext) -> cdk.PolicyValidationPluginReport:
        """Called by the CDK once the templates are written."""
        refused = refusals(read(context.template_paths))
        return cdk.PolicyValidationPluginReport(
            success=not refused,
            violations=[
                cdk.PolicyViolation(
                    rule_name=refusal.rule,
                    description=refusal.sentence,
                    violating_resources=[
                        cdk.PolicyViolatingResource(
                            resource_logical_id=refusal.where, template_path=refusal.template, locations=[]
                        )
                    ],
                )
                for refusal in refused
            ],
        )


def _refuse(rule: str, resource: Resource, sentence: str) -> Refusal:
    return Refusal(
        rule=rule,
        template=resource.template,
        where=resource.logical_id,
        sentence=f"{resource.type} {resource.logical_id}: {sentence}",
    )


def _compute(environment: Resource) -> dict[str, Any]:
    found: dict[str, Any] = environment.properties.get("ComputeResources", {})
    return found


def _number(value: object) -> float:
    """A number of a template, which may be a string; -1 for anything else."""
    try:
        return float(str(value))
    except ValueError:
        return -1
