"""A candidate in the shadow of the policy that serves: it gets copies of the requests, and nobody gets its answers.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-shadow-deployment.html
"""

import json
import os
from datetime import UTC, datetime
from typing import Any

import boto3

from contract.layout import RunLayout, shadow_config
from contract.run import ShadowSection
from lambdas.endpoints import captured, hosting
from lambdas.endpoints.hosting import VARIANT

_s3 = boto3.client("s3")
_cloudwatch = boto3.client("cloudwatch")

CANDIDATE = "candidate"
"""The shadow variant; `hosting.make_shadow` names it so."""
MOST = 20_000
"""Requests that are compared at most."""
_DIGITS = 4
"""Actions that agree in so many digits after the point are the same."""


def report(endpoint: str, run_id: str, section: ShadowSection, *, since: str) -> dict[str, Any]:
    """What the shadow has shown: written to `validation/shadow.json`, without a single observation.

    Requests of both variants are matched by their content: a policy that chooses its best action answers the same to
    the same.
    """
    production = _answers(endpoint, VARIANT, section)
    candidate = _answers(endpoint, CANDIDATE, section)
    both = production.keys() & candidate.keys()
    agreeing = sum(production[request] == candidate[request] for request in both)
    document = {
        "run_id": run_id,
        "endpoint": endpoint,
        "since": since,
        "until": datetime.now(UTC).isoformat(timespec="seconds"),
        "percent": section.percent,
        "requests_compared": len(both),
        "agreement": agreeing / len(both) if both else None,
        "min_agreement": section.min_agreement,
        "production": _measured(endpoint, VARIANT, since),
        "candidate": _measured(endpoint, CANDIDATE, since),
    }
    _s3.put_object(
        Bucket=os.environ["ARTIFACTS_BUCKET"],
        Key=RunLayout(run_id=run_id).shadow,
        Body=json.dumps(document, indent=1).encode(),
        ContentType="application/json",
    )
    return document


def objection(document: dict[str, Any], max_error_percent: float) -> str | None:
    """Why the candidate may not take over after this; None when it may."""
    errors, requests = document["candidate"]["errors"], document["candidate"]["requests"]
    if requests and errors / requests * 100 > max_error_percent:
        return f"in the shadow {errors:g} of {requests:g} requests failed"
    least, agreement = document["min_agreement"], document["agreement"]
    if least is None:
        return None
    if agreement is None:
        return "in the shadow there was no request to compare, and deploy.shadow.min_agreement asks for some"
    if agreement < least:
        return (
            f"in the shadow {agreement:.1%} of {document['requests_compared']} requests were answered with the same "
            f"action; deploy.shadow.min_agreement is {least:g}"
        )
    return None


def said(document: dict[str, Any]) -> str:
    """What the shadow has shown, in one sentence."""
    agreement = document["agreement"]
    agreed = "no requests" if agreement is None else f"{agreement:.1%} of {document['requests_compared']:,} requests"
    latency = "; ".join(
        f"{name} p90 {document[name]['latency_p90_ms']} ms"
        for name in ("production", "candidate")
        if document[name]["latency_p90_ms"] is not None
    )
    return f"In the shadow it answered {agreed} with the same action ({latency})."


def begin(endpoint: str, run_id: str, before: str, section: ShadowSection) -> None:
    """Begin to move the endpoint to a configuration with the candidate beside the policy that serves."""
    config = shadow_config(run_id)
    hosting.make_shadow(
        config, before=before, run_id=run_id, share=section.percent / 100, capture=captured.settings(100)
    )
    hosting.update(endpoint, config)


def _answers(endpoint: str, variant: str, section: ShadowSection) -> dict[str, Any]:
    """By request, what the variant answered."""
    found: dict[str, Any] = {}
    for exchange in captured.exchanges(endpoint, variant, hours=section.hours + 1):
        found[json.dumps(exchange.request, sort_keys=True)] = _rounded(exchange.answer)
        if len(found) == MOST:
            break
    return found


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, _DIGITS)
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return value


def _measured(endpoint: str, variant: str, since: str) -> dict[str, Any]:
    """Requests, errors and latency of a variant, in milliseconds; null where nobody asked."""
    return {
        "requests": _statistic(endpoint, variant, "Invocations", "Sum", since) or 0.0,
        "errors": _statistic(endpoint, variant, "Invocation5XXErrors", "Sum", since) or 0.0,
        **{
            f"latency_{name}_ms": None if value is None else round(value / 1000, 3)
            for name in ("p50", "p90", "p99")
            for value in [_statistic(endpoint, variant, "ModelLatency", name, since)]
        },
    }


def _statistic(endpoint: str, variant: str, metric: str, statistic: str, since: str) -> float | None:
    extended = statistic.startswith("p")
    wanted: Any = {"ExtendedStatistics": [statistic]} if extended else {"Statistics": [statistic]}
    points = _cloudwatch.get_metric_statistics(
        Namespace="AWS/SageMaker",
        MetricName=metric,
        Dimensions=[{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": variant}],
        StartTime=since,
        EndTime=datetime.now(UTC),
        Period=86_400,
        **wanted,
    )["Datapoints"]
    values: list[float] = [
        point["ExtendedStatistics"][statistic] if extended else point[statistic]  # type: ignore[literal-required]
        for point in points
    ]
    if not values:
        return None
    return max(values) if extended else sum(values)
