"""As many instances as an endpoint's callers need, where the stage's settings allow more than the least.

https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling.html
"""

import os
from typing import Any

import boto3

from contract.run import DeploySection
from lambdas.endpoints.hosting import VARIANT

_scaling = boto3.client("application-autoscaling")

_POLICY = "rlpipe-invocations"


def register(endpoint: str, deploy: DeploySection) -> None:
    """Let an endpoint grow and shrink with its callers. Harmless when done again."""
    least, most = int(os.environ["SERVING_INSTANCES"]), int(os.environ["SERVING_MAX_INSTANCES"])
    if most <= least or deploy.target != "sagemaker":
        return
    _scaling.register_scalable_target(**_target(endpoint), MinCapacity=least, MaxCapacity=most)
    _scaling.put_scaling_policy(
        **_target(endpoint),
        PolicyName=_POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": float(os.environ["SERVING_INVOCATIONS_PER_MINUTE"]),
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
            "ScaleInCooldown": 300,
            "ScaleOutCooldown": 60,
        },
    )


def deregister(endpoint: str) -> None:
    """Forget an endpoint, its policy with it; one that was never registered is no error."""
    try:
        _scaling.deregister_scalable_target(**_target(endpoint))
    except _scaling.exceptions.ObjectNotFoundException:
        return


def _target(endpoint: str) -> Any:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
