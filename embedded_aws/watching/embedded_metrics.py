"""CloudWatch Logs makes metrics of lines in the embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from embedded_aws import hooks

_MOST_VALUES = 100
_MOST_DIMENSIONS = 30


@dataclass(frozen=True, kw_only=True)
class Datum:
    """Values of one metric."""

    namespace: str
    name: str
    unit: str
    dimensions: dict[str, str]
    values: list[float]
    at: float
    """Seconds since 1970."""


def install() -> None:
    """Read every log event that is written from now on."""
    hooks.watch_log_events(_publish)


def _publish(messages: list[str]) -> None:
    for message in messages:
        for it in extract(message):
            hooks.store_metric(it.namespace, it.name, it.values, it.unit, it.dimensions, at=it.at)


def extract(message: str) -> Iterator[Datum]:
    """The metrics in a log event: none unless it is one JSON object that follows the specification."""
    if '"_aws"' not in message:  # nearly every line
        return
    try:
        document = json.loads(message)
        metadata = document["_aws"]
        at = metadata.get("Timestamp", time.time() * 1000) / 1000
        for directive in metadata["CloudWatchMetrics"]:
            for names in directive["Dimensions"]:
                if len(names) <= _MOST_DIMENSIONS:
                    dimensions = {name: document[name] for name in names}
                    yield from _of_directive(document, directive, dimensions, at)
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # CloudWatch passes over what does not follow it, and says so in metrics of its own only


def _of_directive(
    document: dict[str, Any], directive: dict[str, Any], dimensions: dict[str, Any], at: float
) -> Iterator[Datum]:
    if not all(isinstance(value, str) and value for value in dimensions.values()):
        return
    for metric in directive["Metrics"]:
        value = document[metric["Name"]]
        values = value if isinstance(value, list) else [value]
        if 0 < len(values) <= _MOST_VALUES and all(_is_number(number) for number in values):
            yield Datum(
                namespace=directive["Namespace"],
                name=metric["Name"],
                unit=metric.get("Unit", "None"),
                dimensions=dimensions,
                values=[float(number) for number in values],
                at=at,
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
