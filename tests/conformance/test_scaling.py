"""Application Auto Scaling: https://docs.aws.amazon.com/autoscaling/application/APIReference/Welcome.html"""

from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conformance.account import Account


def target(endpoint: str) -> dict[str, Any]:
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/policy",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }


@pytest.mark.page("autoscaling/application/APIReference/API_RegisterScalableTarget.html")
def test_a_variant_is_registered_with_its_policy_until_it_is_deregistered(aws: Account) -> None:
    scaling = aws.client("application-autoscaling")
    endpoint = aws.endpoint(aws.model("one"))
    scaling.register_scalable_target(**target(endpoint), MinCapacity=1, MaxCapacity=4)
    scaling.put_scaling_policy(
        **target(endpoint),
        PolicyName="invocations",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 1000.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )
    resource = target(endpoint)["ResourceId"]
    [registered] = scaling.describe_scalable_targets(ServiceNamespace="sagemaker", ResourceIds=[resource])[
        "ScalableTargets"
    ]
    assert (registered["MinCapacity"], registered["MaxCapacity"]) == (1, 4)
    policies = scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource)["ScalingPolicies"]
    assert [policy["PolicyName"] for policy in policies] == ["invocations"]

    scaling.deregister_scalable_target(**target(endpoint))

    assert scaling.describe_scaling_policies(ServiceNamespace="sagemaker", ResourceId=resource)["ScalingPolicies"] == []
    with pytest.raises(scaling.exceptions.ObjectNotFoundException):
        scaling.deregister_scalable_target(**target(endpoint))


@pytest.mark.page("autoscaling/application/APIReference/API_RegisterScalableTarget.html")
def test_what_does_not_exist_cannot_be_scaled(aws: Account) -> None:
    scaling = aws.client("application-autoscaling")
    with pytest.raises(ClientError, match="Could not find endpoint variant"):
        scaling.register_scalable_target(**target("nobody"), MinCapacity=1, MaxCapacity=4)
    endpoint = aws.endpoint(aws.model("one"))
    with pytest.raises(ClientError, match="Minimum capacity cannot be greater"):
        scaling.register_scalable_target(**target(endpoint), MinCapacity=4, MaxCapacity=1)
    with pytest.raises(scaling.exceptions.ObjectNotFoundException):
        scaling.put_scaling_policy(**target(endpoint), PolicyName="p", PolicyType="TargetTrackingScaling")
