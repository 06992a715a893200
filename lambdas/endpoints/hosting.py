"""Models, configurations and endpoints in SageMaker. To make what is there, or delete what is gone, is no error."""

import contextlib
import os
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.exceptions import ClientError

from contract.metrics import ENDPOINT_VARIABLE, STAGE_VARIABLE
from contract.run import DeploySection
from lambdas.endpoints.endpoint import MISSING, Endpoint

_sagemaker = boto3.client("sagemaker")

VARIANT = "policy"
"""The one production variant of every configuration: an update keeps it, or it could not be a gradual one."""


def describe(name: str) -> Endpoint:
    """An endpoint, also one that is not there."""
    try:
        found = _sagemaker.describe_endpoint(EndpointName=name)
    except ClientError as error:
        if _is_missing(error):
            return Endpoint(name=name, status=MISSING)
        raise
    return Endpoint(
        name=name,
        status=found["EndpointStatus"],
        config=found.get("EndpointConfigName", ""),
        failure=found.get("FailureReason", "no reason given"),
    )


def make_servable(
    run_id: str, *, endpoint: str, image: str, model_uri: str, deploy: DeploySection, capture: dict[str, Any] | None
) -> None:
    """Make the model and the endpoint configuration of a run, both named after it.

    :param endpoint: whose metrics its containers tell.
    :param capture: the configuration's DataCaptureConfig, where requests are to be captured.
    """
    serverless = deploy.target == "sagemaker-serverless"
    with _unless_there():
        _sagemaker.create_model(
            ModelName=run_id,
            ExecutionRoleArn=os.environ["MODEL_ROLE_ARN"],
            EnableNetworkIsolation=not serverless,  # which knows no isolation
            PrimaryContainer={
                "Image": image,
                "ModelDataUrl": model_uri,
                "Environment": {STAGE_VARIABLE: os.environ["RLPIPE_STAGE"], ENDPOINT_VARIABLE: endpoint},
            },
        )
    variant: Any = {"VariantName": VARIANT, "ModelName": run_id, "InitialVariantWeight": 1.0}
    if serverless:
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": int(os.environ["SERVERLESS_MEMORY_MB"]),
            "MaxConcurrency": int(os.environ["SERVERLESS_CONCURRENCY"]),
        }
    else:
        variant["InstanceType"] = os.environ["SERVING_INSTANCE_TYPE"]
        variant["InitialInstanceCount"] = int(os.environ["SERVING_INSTANCES"])
    captured: Any = {"DataCaptureConfig": capture} if capture else {}
    with _unless_there():
        _sagemaker.create_endpoint_config(EndpointConfigName=run_id, ProductionVariants=[variant], **captured)


def make_shadow(config: str, *, before: str, run_id: str, share: float, capture: dict[str, Any]) -> None:
    """Make a configuration in which a run's model is in the shadow of what another configuration serves.

    :param share: of the requests that the shadow gets a copy of, 0 to 1.
    """
    variants: Any = _sagemaker.describe_endpoint_config(EndpointConfigName=before)["ProductionVariants"]
    production: Any = {**variants[0], "InitialVariantWeight": 1.0}
    shadow: Any = {**variants[0], "VariantName": "candidate", "ModelName": run_id, "InitialVariantWeight": share}
    with _unless_there():
        _sagemaker.create_endpoint_config(
            EndpointConfigName=config,
            ProductionVariants=[production],
            ShadowProductionVariants=[shadow],
            DataCaptureConfig=capture,  # type: ignore[arg-type]
        )


def delete_config(name: str) -> None:
    """Delete an endpoint configuration that no endpoint uses."""
    with _unless_gone():
        _sagemaker.delete_endpoint_config(EndpointConfigName=name)


def create(name: str, config: str) -> None:
    """Create an endpoint."""
    with _unless_there():
        _sagemaker.create_endpoint(
            EndpointName=name,
            EndpointConfigName=config,
            # The bill is told apart by them.
            Tags=[{"Key": "project", "Value": "rlpipe"}, {"Key": "stage", "Value": os.environ["RLPIPE_STAGE"]}],
        )


def update(name: str, config: str, deploy: DeploySection | None = None, alarms: list[str] | None = None) -> None:
    """Begin to move an endpoint to another configuration: at once, or as a run has asked for it, watched by alarms."""
    deployment = gradual(deploy, alarms or []) if deploy else None
    gradually: Any = {"DeploymentConfig": deployment} if deployment else {}
    _sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=config, **gradually)


def gradual(deploy: DeploySection, alarms: list[str]) -> dict[str, Any] | None:
    """How SageMaker moves the traffic of an update: a part of it first, watched by alarms that undo it.

    None for a serverless endpoint, which it moves as it sees fit.
    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails.html

    A canary is at most half of the new fleet, so a fleet of one instance is moved to as a whole, and watched then.
    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html
    """
    if deploy.target == "sagemaker-serverless":
        return None
    bake = round(deploy.bake_minutes * 60)
    routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": bake}
    if deploy.canary_percent and int(os.environ["SERVING_INSTANCES"]) > 1:
        size = {"Type": "CAPACITY_PERCENT", "Value": deploy.canary_percent}
        routing = {"Type": "CANARY", "CanarySize": size, "WaitIntervalInSeconds": bake}
    return {
        "BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": bake},
        "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in alarms]},
    }


def delete(name: str) -> None:
    """Delete an endpoint."""
    with _unless_gone():
        _sagemaker.delete_endpoint(EndpointName=name)


def delete_servable(run_id: str) -> bool:
    """Delete the configuration and the model of a run, unless an endpoint uses them; whether they are gone."""
    pages = _sagemaker.get_paginator("list_endpoints").paginate()
    for endpoint in [item["EndpointName"] for page in pages for item in page["Endpoints"]]:
        found = _sagemaker.describe_endpoint(EndpointName=endpoint)
        pending = found.get("PendingDeploymentSummary") or {}
        if run_id in (found.get("EndpointConfigName"), pending.get("EndpointConfigName")):
            return False
    with _unless_gone():
        _sagemaker.delete_endpoint_config(EndpointConfigName=run_id)
    with _unless_gone():
        _sagemaker.delete_model(ModelName=run_id)
    return True


@contextlib.contextmanager
def _unless_there() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if "already exist" not in error.response["Error"].get("Message", ""):
            raise


@contextlib.contextmanager
def _unless_gone() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if not _is_missing(error):
            raise


def _is_missing(error: ClientError) -> bool:
    """SageMaker has no error code of its own for what does not exist."""
    return "Could not find" in error.response["Error"].get("Message", "")
