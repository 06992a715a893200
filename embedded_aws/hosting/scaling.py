"""Application Auto Scaling for endpoint variants and services on ECS.

Targets and policies are kept; nothing here ever needs to grow.

https://docs.aws.amazon.com/autoscaling/application/APIReference/Welcome.html
"""

import json
import time
from collections.abc import Callable
from typing import Any

from embedded_aws import hooks
from embedded_aws.settings import REGION, arn

_ERROR = "ObjectNotFoundException"
_Response = tuple[int, dict[str, str], bytes]
_DescribeEndpoint = Callable[[str], dict[str, Any] | None]
_DescribeService = Callable[[str, str], dict[str, Any] | None]


class ScalingError(Exception):
    """A refusal in the service's words."""

    def __init__(self, message: str, code: str = "ValidationException") -> None:
        super().__init__(message)
        self.code = code


class Scaling:
    """The API: `call("RegisterScalableTarget", {...})`.

    :param describe_endpoint: an endpoint as SageMaker describes it; None when there is none of that name.
    :param describe_service: the same of a service on ECS, by its cluster and its name.
    """

    def __init__(self, describe_endpoint: _DescribeEndpoint, describe_service: _DescribeService) -> None:
        self._describe_endpoint = describe_endpoint
        self._describe_service = describe_service
        self._targets: dict[str, dict[str, Any]] = {}
        self._policies: dict[tuple[str, str], dict[str, Any]] = {}
        self._operations: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            "RegisterScalableTarget": self._register,
            "DeregisterScalableTarget": self._deregister,
            "DescribeScalableTargets": self._describe_targets,
            "PutScalingPolicy": self._put_policy,
            "DeleteScalingPolicy": self._delete_policy,
            "DescribeScalingPolicies": self._describe_policies,
        }

    def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Perform an API operation. Raises ScalingError as the service would answer with an error."""
        if operation not in self._operations:
            raise ScalingError(f"{operation} is not emulated", "UnknownOperationException")
        return self._operations[operation](request)

    def _register(self, request: dict[str, Any]) -> dict[str, Any]:
        resource = request["ResourceId"]
        if request["ServiceNamespace"] == "ecs":
            _, cluster, name = resource.split("/")
            if self._describe_service(cluster, name) is None:
                raise ScalingError(f"ECS service doesn't exist: {resource}")
        else:
            kind, endpoint, _, variant = [*resource.split("/"), "", "", ""][:4]
            found = self._describe_endpoint(endpoint) if kind == "endpoint" else None
            if found is None or variant not in [item["VariantName"] for item in found.get("ProductionVariants", [])]:
                raise ScalingError(f"Could not find endpoint variant {resource}")
        if request["MinCapacity"] > request["MaxCapacity"]:
            raise ScalingError("Minimum capacity cannot be greater than maximum capacity")
        self._targets[resource] = {**request, "CreationTime": time.time()}
        return {"ScalableTargetARN": arn("application-autoscaling", f"scalable-target/{resource}")}

    def _deregister(self, request: dict[str, Any]) -> dict[str, Any]:
        resource = request["ResourceId"]
        if self._targets.pop(resource, None) is None:
            raise ScalingError(f"No scalable target found for resource ID: {resource}", _ERROR)
        for key in [key for key in self._policies if key[0] == resource]:
            del self._policies[key]
        return {}

    def _describe_targets(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted, space = request.get("ResourceIds"), request["ServiceNamespace"]
        found = [it for it in self._targets.values() if it["ServiceNamespace"] == space]
        return {"ScalableTargets": [it for it in found if not wanted or it["ResourceId"] in wanted]}

    def _put_policy(self, request: dict[str, Any]) -> dict[str, Any]:
        resource, name = request["ResourceId"], request["PolicyName"]
        if resource not in self._targets:
            raise ScalingError(f"No scalable target registered for resource ID: {resource}", _ERROR)
        space = request["ServiceNamespace"]
        policy_arn = (
            f"arn:aws:autoscaling:{REGION}:000000000000:scalingPolicy:resource/{space}/{resource}:policyName/{name}"
        )
        self._policies[resource, name] = {**request, "PolicyARN": policy_arn, "CreationTime": time.time()}
        return {"PolicyARN": policy_arn, "Alarms": []}

    def _delete_policy(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._policies.pop((request["ResourceId"], request["PolicyName"]), None) is None:
            raise ScalingError(f"No scaling policy found: {request['PolicyName']}", _ERROR)
        return {}

    def _describe_policies(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = request.get("ResourceId")
        return {"ScalingPolicies": [it for it in self._policies.values() if wanted in (None, it["ResourceId"])]}


def register(scaling: Scaling) -> None:
    """Make the service answer at the instance's endpoint."""

    async def handle(method: str, path: str, headers: dict[str, str], body: bytes, _: dict[str, Any]) -> _Response:
        operation = headers.get("x-amz-target", "").rpartition(".")[2]
        content_type = {"Content-Type": "application/x-amz-json-1.1"}
        try:
            answer = scaling.call(operation, json.loads(body or b"{}"))
        except ScalingError as error:
            document = {"__type": error.code, "message": str(error)}
            return 400, {**content_type, "x-amzn-ErrorType": error.code}, json.dumps(document).encode()
        return 200, content_type, json.dumps(answer).encode()

    hooks.add_service("application-autoscaling", handle, "AnyScaleFrontendService.")
