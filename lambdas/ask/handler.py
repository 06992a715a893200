"""Ask a service on ECS: the one function that is inside the network, where the internal load balancer answers.

The smoke test asks through it, and whoever calls the HTTP API.
"""

import http.client
import json
import os
import time
from typing import Any
from urllib.parse import urlsplit

from contract.layout import ENDPOINT_HEADER

PATIENCE_SECONDS = 15


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer a request of API Gateway (payload 1.0), or `{"endpoint": ..., "body": ...}` of the smoke test.

    The answer has `statusCode`, `headers` and `body`; for the smoke test also the `seconds` that it took.
    """
    began = time.perf_counter()
    endpoint = event.get("endpoint") or event["pathParameters"]["endpoint"]
    try:
        status, content_type, body = _ask(endpoint, event.get("body") or "")
    except (OSError, http.client.HTTPException) as error:
        said = {"message": f"{endpoint} does not answer: {type(error).__name__}: {error}"}
        status, content_type, body = 502, "application/json", json.dumps(said)
    answer = {"statusCode": status, "headers": {"Content-Type": content_type}, "body": body}
    return {**answer, "seconds": time.perf_counter() - began} if "endpoint" in event else answer


def _ask(endpoint: str, body: str) -> tuple[int, str, str]:
    place = urlsplit(os.environ["LOAD_BALANCER_URL"])
    connection = http.client.HTTPConnection(place.netloc, timeout=PATIENCE_SECONDS)
    headers = {ENDPOINT_HEADER: endpoint, "Content-Type": "application/json", "Accept": "application/json"}
    try:
        connection.request("POST", f"{place.path}/invocations", body.encode(), headers)
        response = connection.getresponse()
        return (
            response.status,
            response.getheader("Content-Type", "text/plain"),
            response.read().decode("utf-8", "replace"),
        )
    finally:
        connection.close()
