"""Asking an endpoint for an action."""

import json
from typing import Any

from cli.deployment import Deployment
from cli.errors import CliError, error_code
from contract.outcomes import ExitCode

_UNKNOWN = ("ValidationError", "ValidationException")
"""What SageMaker answers for an endpoint that it does not have."""


def ask(deployment: Deployment, endpoint: str, observation: Any, **besides: Any) -> dict[str, Any]:
    """The endpoint's answer, with the `action` that its policy takes on an observation.

    Args:
        besides: what else the request is to say, such as `state`.

    Raises:
        CliError: it refuses the observation, or does not answer.
    """
    from botocore.exceptions import ClientError

    try:
        response = deployment.sagemaker_runtime.invoke_endpoint(
            EndpointName=endpoint,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps({"observation": observation, **besides}),
        )
    except ClientError as error:
        if error_code(error) in _UNKNOWN and _is_on_ecs(deployment, endpoint):
            return _ask_service(deployment, endpoint, {"observation": observation, **besides})
        raise _refusal(deployment, endpoint, error) from error
    answer: dict[str, Any] = json.loads(response["Body"].read())
    return answer


def _is_on_ecs(deployment: Deployment, endpoint: str) -> bool:
    """Whether SageMaker does not know the endpoint because it is a service on ECS."""
    status, policy = deployment.api.request("GET", f"/policies/{endpoint}")
    return status == 200 and policy["target"] == "ecs" and policy["status"] != "Off"


def _ask_service(deployment: Deployment, endpoint: str, request: dict[str, Any]) -> dict[str, Any]:
    """The answer of a service on ECS, through the HTTP API: its load balancer is inside the network."""
    status, answer = deployment.api.request("POST", f"/services/{endpoint}/action", request)
    if status == 200:
        return answer
    raise _refused(endpoint, status, json.dumps(answer))


def _refusal(deployment: Deployment, endpoint: str, error: Exception) -> Exception:
    """What an endpoint's error means for the caller; the error itself where it means nothing special."""
    response: dict[str, Any] = getattr(error, "response", {})
    if error_code(error) == "ModelError":
        return _refused(
            endpoint, int(response.get("OriginalStatusCode", 500)), str(response.get("OriginalMessage", ""))
        )
    if error_code(error) in _UNKNOWN:
        known = [found["EndpointName"] for found in deployment.sagemaker.list_endpoints()["Endpoints"]]
        return CliError(
            f"{endpoint} does not answer: {response.get('Error', {}).get('Message', '')}".rstrip("."),
            next_step=f"use one of {', '.join(known)}" if known else "`rlpipe submit PATH` makes an endpoint",
            exit_code=ExitCode.USAGE,
        )
    return error


def _refused(endpoint: str, status: int, message: str) -> CliError:
    """What a container's own error means for the caller."""
    said = _said(message)
    if 400 <= status < 500:
        return CliError(
            f"{endpoint} refused the observation: {said}",
            next_step="send an observation of the environment that it was trained in",
            exit_code=ExitCode.USAGE,
        )
    return CliError(f"{endpoint} failed with status {status}: {said}", next_step="look at the endpoint's log")


def _said(message: str) -> str:
    """The server's refusal in words, or its answer as it is."""
    try:
        error = json.loads(message)["error"]
        return f"{error['field']}: {error['expected']} (given: {error['given']})"
    except (ValueError, TypeError, KeyError):
        return message
