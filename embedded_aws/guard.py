"""Turns away web pages: an emulator runs the code it is given, and any page a browser shows can send requests to it.

A page is known by its Origin; one that reaches us under a name of its own (DNS rebinding) by the Host it asks for.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

_Receive = Callable[[], Awaitable[Any]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]
_Application = Callable[[dict[str, Any], _Receive, _Send], Awaitable[None]]

_REFUSAL = b"This is an AWS emulator for programs of this machine; it does not answer web pages of others.\n"


def local_callers_only(application: _Application) -> _Application:
    """The ASGI application, for callers that are not web pages of other sites."""

    async def guarded(scope: dict[str, Any], receive: _Receive, send: _Send) -> None:
        if scope["type"] == "lifespan" or _is_local(scope["headers"]):
            await application(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            headers = [(b"content-type", b"text/plain"), (b"content-length", str(len(_REFUSAL)).encode())]
            await send({"type": "http.response.start", "status": 403, "headers": headers})
            await send({"type": "http.response.body", "body": _REFUSAL})

    return guarded


def _is_local(headers: list[tuple[bytes, bytes]]) -> bool:
    given = {name.lower(): value.decode("latin-1") for name, value in headers}
    host = _host_of("//" + given.get(b"host", "localhost"))
    origin = given.get(b"origin")
    return _names_this_machine(host) and (origin is None or _names_this_machine(_host_of(origin)))


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _names_this_machine(host: str) -> bool:
    """Loopback addresses and names, and the names of AWS's own endpoints, which no page can be served under."""
    if host == "localhost" or host.endswith((".localhost", ".amazonaws.com", "127.0.0.1")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
