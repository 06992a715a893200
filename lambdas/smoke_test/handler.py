"""Ask an endpoint for the actions that validation saw: what serves must be what was validated."""

import json
import os
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from contract.policy import Golden

_s3 = boto3.client("s3")
_runtime = boto3.client("sagemaker-runtime")

# Continuous actions may differ in the last bits between the machine that validated and the one that serves.
TOLERANCE = 1e-4


def handler(event: dict[str, str], _context: object) -> dict[str, Any]:
    """Compare the endpoint's answers with `golden.json`.

    Returns `{"passed": bool, "reason": str}`; an endpoint that answers with an error has not passed.
    """
    body = _s3.get_object(Bucket=os.environ["ARTIFACTS_BUCKET"], Key=event["golden_key"])["Body"].read()
    golden: Golden = json.loads(body)
    try:
        response = _runtime.invoke_endpoint(
            EndpointName=event["endpoint"],
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps({"observations": golden["observations"]}),
        )
        answer = json.loads(response["Body"].read())
        actions = answer["actions"]
    except (BotoCoreError, ClientError) as error:
        return {"passed": False, "reason": f"the endpoint did not answer: {error}"}
    except (ValueError, KeyError, TypeError) as error:
        return {"passed": False, "reason": f"the endpoint's answer has no actions: {type(error).__name__} {error}"}
    return _compare(golden["actions"], actions)


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
