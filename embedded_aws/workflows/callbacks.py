"""Tasks that wait for a token: the call is made, and then somebody else says how it went.

https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token
"""

import contextlib
import json
import math
import threading
import time
from typing import Any

from embedded_aws import hooks
from embedded_aws.access import resources
from embedded_aws.workflows import scopes

_MODULE = "services.stepfunctions"


def install() -> None:
    """Wait so that stopping the execution ends the wait, and so that a token is worth nothing afterwards."""
    hooks.replace(_MODULE, "_invoke_with_callback", _invoke)
    answer = hooks.private(_MODULE, "_send_task_heartbeat")

    def send_task_heartbeat(request: dict[str, Any]) -> Any:
        entry = hooks.private(_MODULE, "_task_tokens").get(request.get("taskToken"))
        if entry:
            entry["heard"] = time.monotonic()
        return answer(request)

    hooks.replace(_MODULE, "_send_task_heartbeat", send_task_heartbeat)


def _invoke(resource: str, arguments: Any, token: str, state: dict[str, Any]) -> Any:
    error: Any = hooks.private(_MODULE, "_ExecutionError")
    tokens = hooks.private(_MODULE, "_task_tokens")
    scope = scopes.current()
    if scope:
        resources.machines[token] = scope.execution["stateMachineArn"]
    entry: dict[str, Any] = {
        "event": threading.Event(),
        "result": None,
        "error": None,
        "heard": time.monotonic(),
    }
    tokens[token] = entry
    try:
        hooks.private(_MODULE, "_invoke_resource")(resource.removesuffix(".waitForTaskToken"), arguments)
        late = _wait(entry, state.get("TimeoutSeconds"), state.get("HeartbeatSeconds"))
        if late:
            raise error(late, "")
    finally:
        tokens.pop(token, None)
    if entry["error"]:
        raise error(entry["error"]["Error"], entry["error"]["Cause"])
    return json.loads(entry["result"])


def _wait(entry: dict[str, Any], limit: float | None, heartbeat: float | None) -> str | None:
    """Wait for the answer; the error when it, or a heartbeat, does not come in time.

    Raises Cancelled when the execution ended meanwhile.
    """
    scope = scopes.current()
    with scope.on_cancel(entry["event"].set) if scope else contextlib.nullcontext():
        late = _late(entry, limit, heartbeat)
    if scope:
        scope.check()
    return late


def _late(entry: dict[str, Any], limit: float | None, heartbeat: float | None) -> str | None:
    end = math.inf if limit is None else time.monotonic() + float(limit)
    while True:
        silent = math.inf if heartbeat is None else entry["heard"] + float(heartbeat)
        soonest = min(end, silent)
        if entry["event"].wait(None if soonest == math.inf else max(0.0, soonest - time.monotonic())):
            return None
        if time.monotonic() >= end:
            return "States.Timeout"
        if time.monotonic() >= entry["heard"] + float(heartbeat or 0):
            return "States.HeartbeatTimeout"
