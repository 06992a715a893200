"""As many instances or tasks as an endpoint's callers need, where the stage's settings allow more than the least.

https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling.html
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/service-autoscaling-targettracking.html
"""

import os
from typing import Any

import boto3

from contract.run import DeploySection
from lambdas.endpoints import services
from lambdas.endpoints.hosting import VARIANT

_scaling = boto3.client("application-autoscaling")

_POLICY = "rlpipe-invocations"


def register(endpoint: str, deploy: DeploySection) -> None:
    """Let an endpoint grow and shrink with its callers. Harmless when done again."""
    if deploy.target == "sagemaker":
        least, most = int(os.environ["SERVING_INSTANCES"]), int(os.environ["SERVING_MAX_INSTANCES"])
        metric, aim = "SageMakerVariantInvocationsPerInstance", float(os.environ["SERVING_INVOCATIONS_PER_MINUTE"])
    elif deploy.target == "ecs":
        # By CPU: ECS cannot scale by requests where deployments change the target group.
        least, most = services.place().tasks, services.place().max_tasks
        metric, aim = "ECSServiceAverageCPUUtilization", float(services.place().cpu_percent)
    else:
        return
    if most <= least:
        return
    target = _target(endpoint, deploy.target)
    _scaling.register_scalable_target(**target, MinCapacity=least, MaxCapacity=most)
    _scaling.put_scaling_policy(
        **target,
        PolicyName=_POLICY,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": aim,
            "PredefinedMetricSpecification": {"PredefinedMetricType": metric},
            "ScaleInCooldown": 300,
            "ScaleOutCooldown": 60,
        },
    )


def deregister(endpoint: str, target: str) -> None:
    """Forget an endpoint, its policy with it; one that was never registered is no error.

    :param target: `deploy.target`.
    """
    try:
        _scaling.deregister_scalable_target(**_target(endpoint, target))
    except _scaling.exceptions.ObjectNotFoundException:
        return


def _target(endpoint: str, target: str) -> Any:
    if target == "ecs":
        return {
            "ServiceNamespace": "ecs",
            "ResourceId": f"service/{services.place().cluster}/{endpoint}",
            "ScalableDimension": "ecs:service:DesiredCount",
        }
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/{VARIANT}",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
