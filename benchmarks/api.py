"""The HTTP API: whether ten thousand requests are answered as its document says, and what it adds to a prediction."""

import json
import time
from statistics import median
from typing import Any

import boto3
import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from benchmarks.pauses import PATIENCE, laptop_of_its_own
from benchmarks.results import table, write
from contract.outcomes import Outcome
from tests.pipeline.cases import ask, nothing_starts
from tests.pipeline.laptop import QUICK, Laptop

CASES = 10_000
PAIRS = 1_000
"""Predictions straight and through API Gateway, in turn."""


def main() -> str:
    """Everything; returns the tables."""
    with laptop_of_its_own() as laptop:
        run_id = laptop.drop("asked", QUICK)
        laptop.reaches(run_id, Outcome.SUCCEEDED, seconds=PATIENCE)
        straight, through = predictions(laptop, "asked")
        with nothing_starts(laptop):
            seen = ask(laptop.outputs["ApiUrl"], CASES, known={"run_id": [run_id], "endpoint": ["asked"]})
    results = {
        "cases": seen.answers.total(),
        "failures": seen.failures,
        "answers": dict(sorted(seen.answers.items())),
        "straight_ms": round(median(straight), 3),
        "through_ms": round(median(through), 3),
        "added_ms": round(median(one - other for one, other in zip(through, straight, strict=True)), 3),
    }
    write("api", "python -m benchmarks api", results)
    return f"{_cases_table(seen.answers, len(seen.failures))}\n\n{_predictions_table(results)}"


def predictions(laptop: Laptop, endpoint: str) -> tuple[list[float], list[float]]:
    """Milliseconds of predictions by the endpoint itself and through API Gateway, one of each in turn."""
    body = json.dumps({"observation": [0.0, 0.0, 0.0, 0.0]})
    ways = (
        (f"{laptop.endpoint_url}/endpoints/{endpoint}/invocations", "sagemaker"),
        (f"{laptop.outputs['ApiUrl'].rstrip('/')}/policies/{endpoint}/action", "execute-api"),
    )
    took: tuple[list[float], list[float]] = ([], [])
    with requests.Session() as session:
        session.trust_env = False
        for number in range(PAIRS + 20):
            for (url, service), times in zip(ways, took, strict=True):
                request = _signed(url, service, body)
                began = time.perf_counter()
                answer = session.post(url, data=body, headers=request)
                seconds = time.perf_counter() - began
                assert "action" in answer.json(), answer.text
                if number >= 20:
                    times.append(seconds * 1000)
    return took


def _signed(url: str, service: str, body: str) -> dict[str, str]:
    caller = boto3.Session(region_name="us-east-1")
    credentials = caller.get_credentials()
    assert credentials is not None
    request = AWSRequest("POST", url, headers={"Content-Type": "application/json"}, data=body)
    SigV4Auth(credentials.get_frozen_credentials(), service, caller.region_name).add_auth(request)
    return dict(request.headers)


def _cases_table(answers: dict[str, int], failures: int) -> str:
    kinds: dict[str, int] = {}
    for name, count in answers.items():
        kinds[name.rpartition(" ")[2]] = kinds.get(name.rpartition(" ")[2], 0) + count
    asked = str(sum(kinds.values()))
    said = ", ".join(f"{status}: {count}" for status, count in sorted(kinds.items()))
    return table(["requests made up", "not as documented", "answers"], [[asked, str(failures), said]])


def _predictions_table(results: dict[str, Any]) -> str:
    row = [str(results[name]) for name in ("straight_ms", "through_ms", "added_ms")]
    return table(["endpoint, ms, median", "through API Gateway", "added"], [row])
