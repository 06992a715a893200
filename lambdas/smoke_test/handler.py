"""Ask an endpoint for the actions that validation saw: what serves must be what was validated, and quick enough."""

import json
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contract.policy import Golden
from lambdas.smoke_test import asking

_s3 = boto3.client("s3")
# What answers only when asked again has not passed.
_runtime = boto3.client("sagemaker-runtime", config=Config(read_timeout=15, retries={"total_max_attempts": 1}))

# Continuous actions may differ in the last bits between the machine that validated and the one that serves.
TOLERANCE = 1e-4


TIMED, SECONDS = 20, 15.0
"""How many requests are timed, and for how long at most."""


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Compare the endpoint's answers with `golden.json`, and its time for one observation with `max_latency_ms`.

    `target` is where the endpoint is: a service on ECS is asked through a function that is in its network.

    Returns `{"passed": bool, "reason": str}`; an endpoint that answers with an error has not passed.
    """
    body = _s3.get_object(Bucket=os.environ["ARTIFACTS_BUCKET"], Key=event["golden_key"])["Body"].read()
    golden: Golden = json.loads(body)
    try:
        masks = golden.get("action_masks")
        request = {"observations": golden["observations"]} | ({"action_masks": masks} if masks else {})
        ask = partial(_ask_service if event.get("target") == "ecs" else _ask_sagemaker, event["endpoint"])
        actions = ask(request)[0]["actions"]
        compared = _compare(golden["actions"], actions)
        if not compared["passed"]:
            return compared
        return _time(ask, _one_by_one(golden), event["max_latency_ms"], compared["reason"])
    except (BotoCoreError, ClientError, ConnectionError) as error:
        return {"passed": False, "reason": f"the endpoint did not answer: {error}"}
    except (ValueError, KeyError, TypeError) as error:
        return {"passed": False, "reason": f"the endpoint's answer has no actions: {type(error).__name__} {error}"}


def _one_by_one(golden: Golden) -> list[dict[str, Any]]:
    """A request for each observation."""
    if masks := golden.get("action_masks"):
        pairs = zip(golden["observations"], masks, strict=True)
        return [{"observation": observation, "action_mask": mask} for observation, mask in pairs]
    return [{"observation": observation} for observation in golden["observations"]]


def _ask_sagemaker(endpoint: str, request: dict[str, Any]) -> tuple[Any, float]:
    """The answer to a request, and the seconds that it took."""
    began = time.perf_counter()
    response = _runtime.invoke_endpoint(
        EndpointName=endpoint, ContentType="application/json", Accept="application/json", Body=json.dumps(request)
    )
    body = response["Body"].read()
    return json.loads(body), time.perf_counter() - began


def _ask_service(endpoint: str, request: dict[str, Any]) -> tuple[Any, float]:
    """The same of a service on ECS. Raises ConnectionError when it answers with an error."""
    answer = asking.ask(endpoint, json.dumps(request))
    if answer["statusCode"] != 200:
        raise ConnectionError(f"{answer['statusCode']} {answer['body'][:500]}")
    return json.loads(answer["body"]), answer["seconds"]


def _time(
    ask: Callable[[dict[str, Any]], tuple[Any, float]], requests: list[dict[str, Any]], limit_ms: float, reason: str
) -> dict[str, Any]:
    """Time single observations one after the other; the median decides, so that one hiccup does not."""
    took: list[float] = []
    for request in islice(cycle(requests), TIMED):
        took.append(ask(request)[1] * 1000)
        if sum(took) > SECONDS * 1000:
            break
    median = statistics.median(took)
    if median > limit_ms:
        return {
            "passed": False,
            "reason": f"the endpoint takes {median:.0f} ms for an observation, median of {len(took)}; "
            f"deploy.max_latency_ms is {limit_ms:g}",
        }
    return {"passed": True, "reason": f"{reason}, in {median:.1f} ms for one observation"}


def _compare(expected: list[Any], actual: Any) -> dict[str, Any]:
    if not isinstance(actual, list) or len(actual) != len(expected):
        count = len(actual) if isinstance(actual, list) else "no list of"
        return {"passed": False, "reason": f"the endpoint answered {count} actions to {len(expected)} observations"}
    differing = [index for index, pair in enumerate(zip(expected, actual, strict=True)) if not _equal(*pair)]
    if differing:
        first = differing[0]
        return {
            "passed": False,
            "reason": f"the endpoint's actions differ from the validated ones on {len(differing)} of "
            f"{len(expected)} observations, first on number {first}: {actual[first]} for {expected[first]}",
        }
    return {"passed": True, "reason": f"the endpoint gave all {len(expected)} validated actions"}


def _equal(expected: Any, actual: Any) -> bool:
    if isinstance(expected, list):
        return (
            isinstance(actual, list)
            and len(actual) == len(expected)
            and all(_equal(*pair) for pair in zip(expected, actual, strict=True))
        )
    if isinstance(actual, bool) or not isinstance(actual, int | float):
        return False
    if isinstance(expected, float):
        return abs(expected - actual) <= TOLERANCE
    return bool(expected == actual)
