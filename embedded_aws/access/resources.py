"""Which resources a call is about, as IAM's policies name them.

https://docs.aws.amazon.com/service-authorization/latest/reference/reference_policies_actions-resources-contextkeys.html
"""

import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from embedded_aws.settings import arn

machines: dict[str, str] = {}
"""The state machine that each task token was made for; a token says so also when it is worth nothing any more."""

EVERYTHING = ["*"]
"""What an action that knows no resources is about."""

_SAGEMAKER = {
    "EndpointName": "endpoint",
    "EndpointConfigName": "endpoint-config",
    "ModelName": "model",
    "ModelPackageName": "model-package",
    "ModelPackageArn": "model-package",
    "ModelPackageGroupName": "model-package-group",
}
_UNDER_A_GROUP = ("CreateModelPackage", "ListModelPackages")
"""What names a group and is about the packages in it."""


WITH_JSON = ("batch", "sagemaker", "logs", "states", "ecr", "monitoring", "ecs")
"""Services, as ministack calls them, whose requests are looked into here."""


class Need(NamedTuple):
    """What a request needs beside the action that it is named after; without an action that one, for more resources."""

    action: str
    resource: str
    context: Mapping[str, str] = MappingProxyType({})


def named(service: str, operation: str, request: dict[str, Any]) -> list[str]:
    """What a request is about; empty where ministack knows."""
    if service == "batch":
        return batch(operation, request)
    if service == "sagemaker":
        return sagemaker(operation, request)
    if service == "ecr":
        return ecr(request)
    if service == "ecs":
        return ecs(operation, request)
    if service == "elasticloadbalancing":
        return load_balancing(request)
    if service == "logs" and not operation.endswith("Resource"):
        return logs(request)
    if service == "states" and operation.startswith("SendTask"):
        return [machines.get(request.get("taskToken", ""), "*")]
    if service == "monitoring":
        return [arn("cloudwatch", f"alarm:{name}") for name in _alarms(request)]
    return []


def _alarms(request: dict[str, Any]) -> list[str]:
    """The names of alarms in a request of CloudWatch's JSON or query protocol."""
    named = [value for key, value in request.items() if key.startswith("AlarmNames.member.")]
    return [*request.get("AlarmNames", []), *named]


def needs(
    service: str, operation: str, request: dict[str, Any], resource: str, method: str, headers: dict[str, str]
) -> Iterator[Need]:
    """What else a request needs: roles that it passes on, tags that it gives."""
    if service == "sagemaker":
        role = request.get("ExecutionRoleArn") or request.get("RoleArn")
        if role:
            yield Need("iam:PassRole", role, {"iam:PassedToService": "sagemaker.amazonaws.com"})
        if request.get("Tags") and operation != "AddTags":
            yield Need("sagemaker:AddTags", resource)
    if service == "ecs" and operation == "RegisterTaskDefinition":
        for role in (request.get("executionRoleArn"), request.get("taskRoleArn")):
            if role:
                yield Need("iam:PassRole", role, {"iam:PassedToService": "ecs-tasks.amazonaws.com"})
    if service == "ecs" and operation == "CreateService":
        for balancer in request.get("loadBalancers", []):
            role = (balancer.get("advancedConfiguration") or {}).get("roleArn")
            if role:
                yield Need("iam:PassRole", role, {"iam:PassedToService": "ecs.amazonaws.com"})
        if request.get("tags"):
            yield Need("ecs:TagResource", resource)
    if service == "elasticloadbalancing" and "Tags.member.1.Key" in request:
        yield Need("elasticloadbalancing:AddTags", resource)
    if service == "monitoring" and operation == "PutMetricAlarm" and request.get("Tags"):
        yield Need("cloudwatch:TagResource", resource)
    if service == "s3" and method in ("PUT", "POST") and headers.get("x-amz-tagging"):
        yield Need("s3:PutObjectTagging", resource)


def context(service: str, request: dict[str, Any]) -> dict[str, str]:
    """Condition keys that a request's members give and ministack does not look for."""
    if service == "monitoring" and "Namespace" in request:
        return {"cloudwatch:namespace": str(request["Namespace"])}
    return {}


def batch(operation: str, request: dict[str, Any]) -> list[str]:
    """The resources of a call of Batch, with the members of its API; its paths name operations in lower case."""
    operation = operation.lower()
    if operation == "submitjob":
        definition = str(request.get("jobDefinition", ""))
        queue = str(request.get("jobQueue", ""))
        return [_named("job-definition", definition), _named("job-queue", queue)]
    if operation in ("terminatejob", "canceljob"):
        return [arn("batch", f"job/{request.get('jobId', '')}")]
    return EVERYTHING


def _named(kind: str, reference: str) -> str:
    return reference if reference.startswith("arn:") else arn("batch", f"{kind}/{reference}")


def sagemaker(operation: str, request: dict[str, Any]) -> list[str]:
    """The resources of a call of SageMaker, with the members of its API."""
    if operation.startswith("List") and operation != "ListModelPackages":
        return EVERYTHING
    found = []
    for member, kind in _SAGEMAKER.items():
        value = str(request.get(member) or "")
        if not value:
            continue
        if operation in _UNDER_A_GROUP:
            kind, value = "model-package", f"{value.rpartition('/')[2]}/*"
        # A name is case-insensitive, and an ARN has it in lower case.
        found.append(value if value.startswith("arn:") else arn("sagemaker", f"{kind}/{value}"))
    return found or EVERYTHING


def ecs(operation: str, request: dict[str, Any]) -> list[str]:
    """The services, deployments, revisions or task definitions of a call of ECS."""
    if operation == "RegisterTaskDefinition":
        return [arn("ecs", f"task-definition/{request['family']}:*")]
    if named := request.get("serviceDeploymentArns") or request.get("serviceRevisionArns"):
        return list(named)
    services = [*request.get("services", []), request.get("service") or request.get("serviceName")]
    cluster = str(request.get("cluster", "default")).rpartition("/")[2]
    return [arn("ecs", f"service/{cluster}/{name.rpartition('/')[2]}") for name in services if name] or EVERYTHING


def load_balancing(request: dict[str, Any]) -> list[str]:
    """The resources of a call of Elastic Load Balancing that is not a look at all of them."""
    if request.get("Action") == "CreateTargetGroup":
        return [arn("elasticloadbalancing", f"targetgroup/{request['Name']}/*")]
    for member in ("RuleArn", "ListenerArn", "TargetGroupArn"):
        if request.get(member):
            return [str(request[member])]
    return []


def logs(request: dict[str, Any]) -> list[str]:
    """The log stream, or the log group as policies name it: with an asterisk at the end."""
    group = request.get("logGroupName") or str(request.get("logGroupIdentifier", "")).rpartition("log-group:")[2]
    if not group:
        return EVERYTHING
    stream = request.get("logStreamName")
    return [arn("logs", f"log-group:{group}:{f'log-stream:{stream}' if stream else '*'}")]


def ecr(request: dict[str, Any]) -> list[str]:
    """The repositories of a call of ECR."""
    names = [*request.get("repositoryNames", []), *([request["repositoryName"]] if "repositoryName" in request else [])]
    return [arn("ecr", f"repository/{name}") for name in names] or EVERYTHING


def repository(image: str) -> str | None:
    """The ECR repository of an image; None for an image from elsewhere."""
    found = re.fullmatch(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com/([^:@]+)[:@].*", image)
    return f"arn:aws:ecr:{found[2]}:{found[1]}:repository/{found[3]}" if found else None
