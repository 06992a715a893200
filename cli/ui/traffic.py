"""An endpoint's traffic, as CloudWatch has it."""

from datetime import datetime, timedelta
from typing import Any

from cli.deployment import Deployment

HOURS = 3
PERIOD_SECONDS = 60
VARIANT = "policy"
"""As the state machine names it."""

_METRICS = {
    "requests": ("Invocations", "Sum"),
    "errors of the caller": ("Invocation4XXErrors", "Sum"),
    "errors of the endpoint": ("Invocation5XXErrors", "Sum"),
    "latency": ("ModelLatency", "Average"),
}
"""https://docs.aws.amazon.com/sagemaker/latest/dg/monitoring-cloudwatch.html"""


def charts(deployment: Deployment, endpoint: str, now: datetime) -> list[dict[str, Any]]:
    """Requests and errors a minute, and their latency, over the last hours; nothing where there were none."""
    end = now.replace(second=0, microsecond=0) + timedelta(minutes=1)
    start = end - timedelta(hours=HOURS)
    series = _read(deployment, endpoint, start, end)
    if not series["requests"]:
        return []
    minutes = {
        name: {round((at - end).total_seconds() / 60): value for at, value in points} for name, points in series.items()
    }
    latency = {minute: value / 1000 for minute, value in minutes.pop("latency").items()}  # microseconds
    total = sum(minutes["requests"].values())
    return [
        {
            "kind": "lines",
            "x": "minutes ago",
            "span": [-HOURS * 60, 0],
            "y": "a minute",
            "height": 200,
            "label": f"{total:,.0f} requests in the last {HOURS} hours.",
            "lines": [_line(name, values, everywhere=True) for name, values in minutes.items() if any(values.values())],
        },
        {
            "kind": "lines",
            "x": "minutes ago",
            "span": [-HOURS * 60, 0],
            "y": "milliseconds",
            "height": 200,
            "label": f"Mean latency of the model, last {list(latency.values())[-1]:.3g} ms."
            if latency
            else "No latency.",
            "lines": [_line("latency of the model", latency, everywhere=False)],
        },
    ]


def _line(name: str, values: dict[int, float], *, everywhere: bool) -> dict[str, Any]:
    """A minute that has no value counts as 0, or is left out."""
    minutes = range(-HOURS * 60, 0) if everywhere else sorted(values)
    return {"name": name, "x": list(minutes), "y": [round(values.get(minute, 0), 4) for minute in minutes]}


def _read(
    deployment: Deployment, endpoint: str, start: datetime, end: datetime
) -> dict[str, list[tuple[datetime, float]]]:
    dimensions = [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": VARIANT}]
    cloudwatch: Any = deployment.cloudwatch
    found: dict[str, list[tuple[datetime, float]]] = {}
    for name, (metric, statistic) in _METRICS.items():
        points = cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=metric,
            Dimensions=dimensions,
            StartTime=start,
            EndTime=end,
            Period=PERIOD_SECONDS,
            Statistics=[statistic],
        )["Datapoints"]
        found[name] = sorted((point["Timestamp"], float(point[statistic])) for point in points)
    return found
