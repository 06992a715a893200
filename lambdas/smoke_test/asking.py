"""Services on ECS, asked through the function that is in their network."""

import json
import os
from typing import Any

import boto3
from botocore.config import Config

# What answers only when asked again has not passed.
_lambda = boto3.client("lambda", config=Config(read_timeout=30, retries={"total_max_attempts": 1}))


def ask(endpoint: str, body: str) -> dict[str, Any]:
    """`statusCode` and `body` of the answer, and the `seconds` that it took, without those of the function.

    Raises ConnectionError when the function itself fails.
    """
    payload = json.dumps({"endpoint": endpoint, "body": body}).encode()
    answer = _lambda.invoke(FunctionName=os.environ["ASK_FUNCTION"], Payload=payload)
    found: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise ConnectionError(found.get("errorMessage", "the function that asks it has failed"))
    return found
