"""Tasks that wait for a token: the call is made, and then somebody else says how it went.

https://docs.aws.amazon.com/step-functions/latest/dg/connect-to-resource.html#connect-wait-token
"""

import json
import threading
from typing import Any

from embedded_aws import hooks, scopes

_MODULE = "services.stepfunctions"


def install() -> None:
    """Wait so that stopping the execution ends the wait, and so that a token is worth nothing afterwards."""
    hooks.replace(_MODULE, "_invoke_with_callback", _invoke)


def _invoke(resource: str, arguments: Any, token: str, state: dict[str, Any]) -> Any:
    error: Any = hooks.private(_MODULE, "_ExecutionError")
    tokens = hooks.private(_MODULE, "_task_tokens")
    answered = threading.Event()
    entry: dict[str, Any] = {"event": answered, "result": None, "error": None, "heartbeat": None}
    tokens[token] = entry
    try:
        hooks.private(_MODULE, "_invoke_resource")(resource.removesuffix(".waitForTaskToken"), arguments)
        if not _wait(answered, state.get("TimeoutSeconds")):
            raise error("States.Timeout", "")
    finally:
        tokens.pop(token, None)
    if entry["error"]:
        raise error(entry["error"]["Error"], entry["error"]["Cause"])
    return json.loads(entry["result"])


def _wait(answered: threading.Event, seconds: float | None) -> bool:
    """Whether the answer came in time. Raises Cancelled when the execution ended meanwhile."""
    scope = scopes.current()
    if scope is None:
        return answered.wait(seconds)
    with scope.on_cancel(answered.set):
        in_time = answered.wait(seconds)
    scope.check()
    return in_time
