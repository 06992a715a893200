"""All that happens to endpoints: deployments, commands of people, schedules, and what SageMaker and ECS tell."""

import logging
from typing import Any

from lambdas.control.answers import Answer, ApiError, respond
from lambdas.endpoints import deployment, drift, hosting, http, operations, services

_log = logging.getLogger(__name__)


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Take a step of a deployment (`step`), carry out a schedule's command (`command`), take note of an event of
    SageMaker, ECS or Step Functions (`detail-type`), or answer a request of API Gateway (payload 1.0)."""
    if "step" in event:
        return deployment.take(event)
    if event.get("command") == "drift":
        return {"endpoints": drift.look()}
    if "command" in event:
        return {"endpoints": operations.by_schedule(event["command"])}
    if event.get("detail-type") == "SageMaker Endpoint State Change":
        detail = event["detail"]
        operations.endpoint_changed(detail["EndpointName"], detail["EndpointConfigName"], hosting)
        return {}
    if event.get("detail-type") == "ECS Deployment State Change":
        name = event["resources"][0].rpartition("/")[2]
        operations.endpoint_changed(name, services.told_to_serve(name), services)
        return {}
    if event.get("detail-type") == "Step Functions Execution Status Change":
        deployment.abandon(event["detail"]["name"])
        return {}
    try:
        return respond(http.answer(event, _who(event)))
    except ApiError as error:
        return respond(error.answer)
    except Exception:
        _log.exception("%s %s", event.get("httpMethod"), event.get("resource"))
        return respond(Answer(500, {"error": "internal", "message": "it is in the endpoints function's log"}))


def _who(event: dict[str, Any]) -> str:
    """Who asks: the name at the end of an IAM identity, or the id of an API key."""
    identity = (event.get("requestContext") or {}).get("identity") or {}
    arn = identity.get("userArn") or ""
    return arn.rpartition(":")[2] or identity.get("apiKeyId") or "somebody"
