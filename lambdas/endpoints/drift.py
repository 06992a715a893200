"""Whether what an endpoint is asked is still what its policy was validated on.

The observations that SageMaker captured are compared with the statistics in the policy's `policy.json`, element by
element, by the population stability index: the sum over bins of (found - expected) * ln(found / expected).
"""

import io
import json
import math
import os
import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from typing import Any

import boto3

from contract.champion import Champion
from contract.layout import RunLayout, drift_key
from contract.metrics import CAPTURED_DRIFT, NAMESPACE
from contract.policy import POLICY_DOCUMENT
from contract.run import DriftSection
from lambdas import moments
from lambdas.endpoints import captured, champions, specifications
from lambdas.endpoints.hosting import VARIANT

_s3 = boto3.client("s3")
_cloudwatch = boto3.client("cloudwatch")

HOURS = 24.0
"""How far back observations are looked at."""
FEWEST, MOST = 200, 5000
"""Observations: with fewer an index is mostly chance, and more tell nothing new."""
MOST_ELEMENTS = 64
"""Of an observation, spread evenly over it; as many as the statistics have."""
_SHARE_OF_NONE = 1e-4
"""Stands for the share of a bin that nothing fell into."""


def look() -> list[str]:
    """Look at every endpoint whose run asked for it; their names.

    What is found is a metric, and lies in `drift/<endpoint>.json`.
    """
    looked = []
    for champion in champions.everyone():
        run = specifications.find(champion.run_id)
        if champion.on and run and run.specification.deploy.drift:
            _look_at(champion, run.specification.deploy.drift)
            looked.append(champion.endpoint)
    return looked


def _look_at(champion: Champion, section: DriftSection) -> None:
    asked = _asked(champion.endpoint)
    found: dict[str, Any] = {
        "endpoint": champion.endpoint,
        "run_id": champion.run_id,
        "at": moments.now(),
        "observations": len(asked),
        "index": None,
        "element": None,
        "max_index": section.max_index,
        "retrained": _before(champion.endpoint).get("retrained"),
    }
    statistics = _statistics(champion.run_id)
    if len(asked) >= FEWEST and statistics:
        found["index"], found["element"] = worst(asked, statistics)
        _cloudwatch.put_metric_data(
            Namespace=NAMESPACE,
            MetricData=[
                {
                    "MetricName": CAPTURED_DRIFT.name,
                    "Dimensions": [{"Name": "EndpointName", "Value": champion.endpoint}],
                    "Value": found["index"],
                }
            ],
        )
        if found["index"] > section.max_index and section.retrain and found["retrained"] != champion.run_id:
            _retrain(champion.run_id)
            found["retrained"] = champion.run_id  # once for each policy
    _s3.put_object(
        Bucket=os.environ["ARTIFACTS_BUCKET"],
        Key=drift_key(champion.endpoint),
        Body=json.dumps(found, indent=1).encode(),
        ContentType="application/json",
    )


def _asked(endpoint: str) -> list[Any]:
    """The observations that the endpoint was asked about, newest first."""
    found: list[Any] = []
    for exchange in captured.exchanges(endpoint, VARIANT, hours=HOURS):
        found += captured.observations(exchange)
        if len(found) >= MOST:
            break
    return found[:MOST]


def worst(asked: list[Any], statistics: Mapping[str, Any]) -> tuple[float, str]:
    """The index and the name of the element that differs most.

    :param asked: observations as requests have them.
    :param statistics: of `policy.json`, by input of the graph.
    """
    indices = [
        (stability_index(values, edges, shares), f"{name}[{number}]")
        for name, expected in statistics.items()
        for number, (values, edges, shares) in enumerate(
            zip(_elements(asked, name), expected["edges"], expected["shares"], strict=True)
        )
    ]
    index, element = max(indices)
    return round(index, 4), element


def stability_index(values: list[float], edges: list[float], shares: list[float]) -> float:
    """The population stability index of values against the shares that are expected between edges."""
    counts = [0] * len(shares)
    for value in values:
        counts[bisect_right(edges, value)] += 1
    pairs = [
        (max(count / len(values), _SHARE_OF_NONE), max(share, _SHARE_OF_NONE))
        for count, share in zip(counts, shares, strict=True)
    ]
    return sum((found - expected) * math.log(found / expected) for found, expected in pairs)


def _elements(asked: list[Any], name: str) -> list[list[float]]:
    """The values of each element of one input; an observation that does not have it is left out."""
    part = name.partition(".")[2]
    flat = []
    for observation in asked:
        value = observation.get(part) if part and isinstance(observation, dict) else observation
        numbers = list(_numbers(value))
        flat.append([numbers[position] for position in _positions(len(numbers))])
    size = max(map(len, flat))
    return [list(column) for column in zip(*(row for row in flat if len(row) == size), strict=True)]


def _positions(count: int) -> list[int]:
    if count <= MOST_ELEMENTS:
        return list(range(count))
    return [round(number * (count - 1) / (MOST_ELEMENTS - 1)) for number in range(MOST_ELEMENTS)]


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float):
        yield float(value)


def _statistics(run_id: str) -> Mapping[str, Any]:
    """What validation saw, from the archive that is served; empty for a policy of before there were any."""
    key = RunLayout(run_id=run_id).model_archive
    archive = _s3.get_object(Bucket=os.environ["ARTIFACTS_BUCKET"], Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        member = tar.extractfile(POLICY_DOCUMENT)
        document: dict[str, Any] = json.load(member) if member else {}
    return document.get("statistics") or {}


def _before(endpoint: str) -> dict[str, Any]:
    try:
        body = _s3.get_object(Bucket=os.environ["ARTIFACTS_BUCKET"], Key=drift_key(endpoint))["Body"].read()
    except _s3.exceptions.NoSuchKey:
        return {}
    document: dict[str, Any] = json.loads(body)
    return document


def _retrain(run_id: str) -> None:
    """Drop the run file of this policy anew: it trains on the data files that lie beside it now."""
    source = specifications.read(run_id).source
    content = _s3.get_object(Bucket=source.bucket, Key=source.key, VersionId=source.version_id)["Body"].read()
    _s3.put_object(Bucket=source.bucket, Key=source.key, Body=content, ContentType="application/yaml")
