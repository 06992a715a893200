"""SageMaker's two routes as a plain ASGI application: GET /ping and POST /invocations.

https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import orjson

from serving_image.policy import ServedPolicy
from serving_image.refusals import RefusalError, describe

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 6 * 1024 * 1024
"""InvokeEndpoint's own limit.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html"""

MAX_BATCH = 1024
"""Observations in one request; a batch holds up every other caller while it is computed."""

BODY_SECONDS = 60.0
"""How long a body may take to arrive; SageMaker itself gives a request no longer."""

_ROUTES = {"/ping": "GET", "/invocations": "POST"}
_JSON = b"application/json"
_KEYS = '{"observation": ...} for one observation or {"observations": [...]} for several'

logger = logging.getLogger("serving")


class DisconnectedError(Exception):
    """The caller went away before the whole request was there."""


class Application:
    """Answers for one policy. It holds no state of a request, so every request is answered on its own."""

    def __init__(self, policy: ServedPolicy) -> None:
        self._policy = policy
        self._pong = orjson.dumps({"status": "ok", "run_id": policy.document["run_id"]})

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one HTTP request. Whatever the request is, this raises nothing."""
        extra: list[tuple[bytes, bytes]] = []
        try:
            status, body = 200, await self._answer(scope, receive)
        except RefusalError as refusal:
            status, body = refusal.status, orjson.dumps(refusal.document)
            if status == 405:
                extra = [(b"allow", _ROUTES[scope["path"]].encode())]
        except DisconnectedError:
            return
        except Exception:
            logger.exception("A request could not be answered.")
            error = {
                "field": "server",
                "given": "a request that shows a fault of the server",
                "expected": "see its log",
            }
            status, body = 500, orjson.dumps({"error": error})
        headers = [(b"content-type", _JSON), (b"content-length", b"%d" % len(body)), *extra]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Message, receive: Receive) -> bytes:
        path, method = scope["path"], scope["method"]
        allowed = _ROUTES.get(path)
        if allowed is None:
            raise RefusalError(404, field="path", given=describe(path), expected=" or ".join(_ROUTES))
        if method != allowed:
            raise RefusalError(405, field="method", given=method, expected=f"{allowed} {path}")
        if path == "/ping":
            return self._pong
        _check_headers(scope["headers"])
        return self._invoke(await _body(receive))

    def _invoke(self, body: bytes) -> bytes:
        values, single = _observations(body)
        actions = self._policy.act(self._policy.observations.read(values, single=single))
        # orjson writes a float32 array as short as it reads back; a list of it would be doubles.
        plain = actions if actions.dtype.kind == "f" else actions.tolist()
        answer = {"action": plain[0]} if single else {"actions": plain}
        return orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)


def _check_headers(headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse by what the headers say, before a byte of the body is read."""
    for name, value in headers:
        if name == b"content-type" and value.partition(b";")[0].strip().lower() != _JSON:
            raise RefusalError(
                415, field="content-type", given=describe(value.decode("latin-1")), expected=_JSON.decode()
            )
        if name == b"content-length" and int(value) > MAX_BODY_BYTES:
            raise _too_large(f"{int(value)} bytes")


async def _body(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.disconnect":
        raise DisconnectedError
    body: bytes = message["body"]
    return await _rest_of(body, receive) if message["more_body"] else body


async def _rest_of(first: bytes, receive: Receive) -> bytes:
    body, more = bytearray(first), True
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise DisconnectedError
                body += message["body"]
                more = message["more_body"]
                if len(body) > MAX_BODY_BYTES:
                    raise _too_large(f"more than {MAX_BODY_BYTES} bytes")
    except TimeoutError as error:
        given = f"{len(body)} bytes in {BODY_SECONDS:g} seconds"
        raise RefusalError(408, field="body", given=given, expected="the whole body by then") from error
    return bytes(body)


def _too_large(given: str) -> RefusalError:
    return RefusalError(413, field="body", given=given, expected=f"at most {MAX_BODY_BYTES} bytes")


def _observations(body: bytes) -> tuple[list[Any], bool]:
    """The observations in a body, and whether it is a single one."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        expected = f"JSON (which has no NaN and no Infinity): {_KEYS}"
        raise RefusalError(400, field="body", given=describe(str(error)), expected=expected) from error
    if not isinstance(document, dict):
        raise RefusalError(400, field="body", given=describe(document), expected=_KEYS)
    if len(document) == 1:
        if "observation" in document:
            return [document["observation"]], True
        if "observations" in document:
            return _batch(document["observations"]), False
    given = f"the keys {', '.join(document)}" if document else "an empty object"
    raise RefusalError(400, field="body", given=given[:80], expected=f"exactly one key, {_KEYS}")


def _batch(values: Any) -> list[Any]:
    if not isinstance(values, list) or not 1 <= len(values) <= MAX_BATCH:
        expected = f"a list of 1 to {MAX_BATCH} observations"
        raise RefusalError(400, field="observations", given=describe(values), expected=expected)
    return values
