"""Policies, as the HTTP API shows and commands them."""

from typing import Any

import boto3
from pydantic import ValidationError

from contract.api import Policy, PolicyCommandBody, PolicyList
from contract.champion import Champion
from contract.cost import monthly_usd
from contract.layout import REHEARSAL
from contract.run import is_endpoint_name
from lambdas.control.answers import Answer, ApiError
from lambdas.endpoints import champions, operations, prices, services
from lambdas.endpoints.endpoint import MISSING
from lambdas.endpoints.hosts import host_of

_sagemaker = boto3.client("sagemaker")

_COMMANDS = {
    "/policies/{endpoint}/rollback": operations.rollback,
    "/policies/{endpoint}/off": operations.off,
    "/policies/{endpoint}/on": operations.on,
    "/policies/{endpoint}/delete": operations.delete,
}


def answer(event: dict[str, Any], who: str) -> Answer:
    """Answer one request of API Gateway."""
    method, resource = event["httpMethod"], event["resource"]
    endpoint = (event.get("pathParameters") or {}).get("endpoint", "")
    if (method, resource) == ("GET", "/policies"):
        return Answer(200, _list())
    champion = champions.read(endpoint) if is_endpoint_name(endpoint) else None
    if champion is None:
        raise ApiError(404, "unknown", f"no policy has ever served at {endpoint}; rlpipe endpoints list")
    if (method, resource) == ("GET", "/policies/{endpoint}"):
        return Answer(200, _shown(champion))
    if method != "POST" or resource not in _COMMANDS:
        raise ApiError(404, "unknown", f"there is no {method} {resource}")
    body = _body(event.get("body"))
    more = {"to": body.to} if resource.endswith("/rollback") else {}
    try:
        champion = _COMMANDS[resource](champion, by=who, reason=body.reason, **more)
    except operations.RefusedError as error:
        raise ApiError(409, "conflict", str(error)) from None
    return Answer(202, _shown(champion))


def _list() -> PolicyList:
    """Every endpoint: those of champions, on or off, and others of the account."""
    pages = _sagemaker.get_paginator("list_endpoints").paginate()
    others = {
        item["EndpointName"]: item
        for page in pages
        for item in page["Endpoints"]
        if not item["EndpointName"].startswith(REHEARSAL)
    }
    on_ecs = services.statuses()
    shown = []
    for champion in champions.everyone():
        if champion.target == "ecs":
            shown.append(_policy(champion, on_ecs.get(champion.endpoint, MISSING)))
            continue
        found = others.pop(champion.endpoint, None)
        shown.append(_policy(champion, found["EndpointStatus"] if found else MISSING))
    for name, item in others.items():
        shown.append(
            Policy(endpoint=name, status=item["EndpointStatus"], updated_at=item["LastModifiedTime"].isoformat())
        )
    shown.sort(key=lambda policy: policy.updated_at, reverse=True)
    return PolicyList(policies=shown, monthly_usd=monthly_usd(prices.of_stage()))


def _shown(champion: Champion) -> Policy:
    return _policy(champion, host_of(champion.target).describe(champion.endpoint).status)


def _policy(champion: Champion, status: str) -> Policy:
    last = champion.history[-1] if champion.history else None
    gone = "Off" if champion.kept else "Deleted"
    costs = monthly_usd(prices.of_stage()).get(champion.target, 0.0)
    return Policy(
        endpoint=champion.endpoint,
        status=gone if status == MISSING and not champion.on else status,
        updated_at=last.at if last else champion.since,
        run_id=champion.run_id,
        target=champion.target,
        since=champion.since,
        before=champion.before,
        kept=[policy.run_id for policy in champion.kept],
        mean_return=champion.mean_return,
        monthly_usd=costs if champion.on else 0.0,
        expires_at=champion.expires_at,
        history=champion.history,
    )


def _body(text: str | None) -> PolicyCommandBody:
    try:
        return PolicyCommandBody.model_validate_json(text or "{}")
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in error.errors()]
        raise ApiError(400, "invalid", "the body is not what this command takes", problems) from None
