"""Requests and answers that SageMaker has captured at an endpoint.

https://docs.aws.amazon.com/sagemaker/latest/dg/model-monitor-data-capture-endpoint.html
"""

import base64
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import boto3

from contract.layout import CAPTURED

_s3 = boto3.client("s3")

MOST_FILES = 200
"""Files that are read at most, the newest ones; SageMaker writes one a minute or so."""


class Exchange(NamedTuple):
    """One request and its answer, as JSON documents."""

    request: Any
    answer: Any


def settings(percent: int) -> dict[str, Any]:
    """What an endpoint configuration says so that a part of the requests is captured."""
    return {
        "EnableCapture": True,
        "InitialSamplingPercentage": percent,
        "DestinationS3Uri": f"s3://{os.environ['ARTIFACTS_BUCKET']}/{CAPTURED}",
        "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
        "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]},
    }


def exchanges(endpoint: str, variant: str, *, hours: float) -> Iterator[Exchange]:
    """What a variant was asked in the last hours and what it answered, as far as both are JSON; newest files first."""
    now = datetime.now(UTC)
    wanted = [now - timedelta(hours=number) for number in range(int(hours) + 2)]
    read = 0
    for hour in wanted:
        prefix = f"{CAPTURED}/{endpoint}/{variant}/{hour:%Y/%m/%d/%H}/"
        pages = _s3.get_paginator("list_objects_v2").paginate(Bucket=os.environ["ARTIFACTS_BUCKET"], Prefix=prefix)
        for key in sorted((item["Key"] for page in pages for item in page.get("Contents", [])), reverse=True):
            if read == MOST_FILES:
                return
            read += 1
            body = _s3.get_object(Bucket=os.environ["ARTIFACTS_BUCKET"], Key=key)["Body"].read()
            for line in body.splitlines():
                if exchange := _exchange(line):
                    yield exchange


def observations(exchange: Exchange) -> list[Any]:
    """The observations of a request."""
    request = exchange.request
    if "observations" in request:
        return list(request["observations"])
    return [request["observation"]] if "observation" in request else []


def _exchange(line: bytes) -> Exchange | None:
    try:
        data = json.loads(line)["captureData"]
        request, answer = _content(data["endpointInput"]), _content(data["endpointOutput"])
    except (ValueError, KeyError, TypeError):
        return None  # another content type, or a line that was cut off
    return Exchange(request, answer) if isinstance(request, dict) else None


def _content(captured: dict[str, str]) -> Any:
    text = captured["data"]
    return json.loads(base64.b64decode(text) if captured["encoding"] == "BASE64" else text)
