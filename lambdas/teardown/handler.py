"""Empty what CloudFormation is about to delete: it deletes neither buckets with files nor what runs have made.

A stack calls this as a custom resource. Only its deletion does anything.
https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref.html
"""

import json
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3

_s3 = boto3.client("s3")
_sagemaker = boto3.client("sagemaker")
_ecs = boto3.client("ecs")
_balancing = boto3.client("elbv2")


def handler(event: dict[str, Any], _context: object) -> None:
    """Answer one request of CloudFormation.

    Its properties name `Buckets` to empty, or a `ModelRole` whose models go with all that serves them, and a
    `ModelPackageGroup` to empty; `Cluster` and `Listener` are those of services on ECS, which go too.
    """
    answer = {
        "Status": "SUCCESS",
        "PhysicalResourceId": event.get("PhysicalResourceId", event["LogicalResourceId"]),
        **{key: event[key] for key in ("StackId", "RequestId", "LogicalResourceId")},
    }
    try:
        if event["RequestType"] == "Delete":
            _tear_down(event["ResourceProperties"])
    except Exception as error:  # unanswered, CloudFormation would wait for an hour
        answer |= {"Status": "FAILED", "Reason": f"{type(error).__name__}: {error}"}
    request = urllib.request.Request(  # noqa: S310 the URL is CloudFormation's own
        event["ResponseURL"], data=json.dumps(answer).encode(), method="PUT", headers={"content-type": ""}
    )
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310
        pass


def _tear_down(properties: dict[str, Any]) -> None:
    for bucket in properties.get("Buckets", []):
        _empty(bucket)
    if "ModelRole" in properties:
        _delete_models(properties["ModelRole"])
    if "Cluster" in properties:
        _delete_services(properties["Cluster"], properties["Listener"])
    if "ModelPackageGroup" in properties:
        _delete_packages(properties["ModelPackageGroup"])


def _empty(bucket: str) -> None:
    """Delete every version of every object."""
    for page in _s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        versions = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        if versions:
            objects: Any = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in versions]
            failed = _s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True}).get("Errors", [])
            if failed:
                raise RuntimeError(f"{bucket}: {failed[0]['Key']}: {failed[0]['Message']}")


def _delete_models(role: str) -> None:
    """Delete the models that run as `role`, the configurations that name them and the endpoints that serve them."""
    models = {
        name
        for name in _names("list_models", "Models", "ModelName")
        if _sagemaker.describe_model(ModelName=name)["ExecutionRoleArn"] == role
    }
    configurations = {
        name
        for name in _names("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName")
        for variant in _sagemaker.describe_endpoint_config(EndpointConfigName=name)["ProductionVariants"]
        if variant["ModelName"] in models
    }
    for name in _names("list_endpoints", "Endpoints", "EndpointName"):
        if _sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"] in configurations:
            _sagemaker.delete_endpoint(EndpointName=name)
    for name in configurations:
        _sagemaker.delete_endpoint_config(EndpointConfigName=name)
    for name in models:
        _sagemaker.delete_model(ModelName=name)


def _delete_services(cluster: str, listener: str) -> None:
    """Delete the services of a cluster, and the rules and target groups by which a load balancer knows them."""
    for page in _ecs.get_paginator("list_services").paginate(cluster=cluster):
        for service in page["serviceArns"]:
            _ecs.delete_service(cluster=cluster, service=service, force=True)
    pages = _balancing.get_paginator("describe_rules").paginate(ListenerArn=listener)
    for rule in [rule for page in pages for rule in page["Rules"] if not rule["IsDefault"]]:
        _balancing.delete_rule(RuleArn=rule["RuleArn"])
        for action in rule["Actions"]:
            for group in action.get("ForwardConfig", {}).get("TargetGroups", []):
                _balancing.delete_target_group(TargetGroupArn=group["TargetGroupArn"])


def _delete_packages(group: str) -> None:
    """Delete every version in a model package group."""
    pages = _sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=group)
    for package in [item["ModelPackageArn"] for page in pages for item in page["ModelPackageSummaryList"]]:
        _sagemaker.delete_model_package(ModelPackageName=package)


def _names(operation: str, member: str, name: str) -> Iterator[str]:
    pages = _sagemaker.get_paginator(operation).paginate()  # type: ignore[call-overload]
    yield from [item[name] for page in pages for item in page[member]]
