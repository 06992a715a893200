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
from contract.run import is_endpoint_name

PATIENCE_SECONDS = 15


def handler(event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Answer a request of API Gateway (payload 1.0), or `{"endpoint": ..., "body": ...}` of the smoke test.

    The answer has `statusCode`, `headers` and `body`; for the smoke test also the `seconds` that it took.
    """
    if "endpoint" in event:
        began = time.perf_counter()
        answer = _ask(event["endpoint"], event["body"])
        return {**answer, "seconds": time.perf_counter() - began}
    endpoint = event["pathParameters"]["endpoint"]
    if not is_endpoint_name(endpoint):
        return _answer(404, json.dumps({"message": "no such endpoint"}))
    answer = _ask(endpoint, event.get("body") or "")
    # As SageMaker's endpoints are answered for: what a caller does wrong is a 400, and what a container does a 502.
    status = answer["statusCode"]
    return {**answer, "statusCode": 502 if status >= 500 else 400 if status not in (200, 404) else status}


def _ask(endpoint: str, body: str) -> dict[str, Any]:
    place = urlsplit(os.environ["LOAD_BALANCER_URL"])
    connection = http.client.HTTPConnection(place.netloc, timeout=PATIENCE_SECONDS)
    headers = {ENDPOINT_HEADER: endpoint, "Content-Type": "application/json", "Accept": "application/json"}
    try:
        connection.request("POST", f"{place.path}/invocations", body.encode(), headers)
        response = connection.getresponse()
        said = response.read().decode("utf-8", "replace")
        return _answer(response.status, said, response.getheader("Content-Type", "text/plain"))
    except (OSError, http.client.HTTPException) as error:
        return _answer(502, json.dumps({"message": f"{endpoint} does not answer: {type(error).__name__}: {error}"}))
    finally:
        connection.close()


def _answer(status: int, body: str, content_type: str = "application/json") -> dict[str, Any]:
    return {"statusCode": status, "headers": {"Content-Type": content_type}, "body": body}
