"""Who may talk to the page: this machine's browser, with the token that `rlpipe ui` printed, and no other site.

A server on 127.0.0.1 is reachable by every page that is open in the browser. So the Host header must be this server's
own (a name that somebody points at 127.0.0.1 is not), a request that changes something must come from this page, and
every request must bring the token: in the printed address once, then in a cookie that other sites' requests do not
carry.
"""

import hmac
from urllib.parse import parse_qsl, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = ("GET", "HEAD")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Around the application: refuses what is not the printed address's browser.

    :param port: where the server listens on 127.0.0.1.
    :param token: what the printed address holds.
    """

    def __init__(self, app: ASGIApp, *, port: int, token: str) -> None:
        self._app = app
        self._token = token
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._cookie = f"rlpipe-ui-{port}"  # cookies do not know ports

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope)
        refusal = self._refusal(request)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send))
        else:
            await refusal(scope, receive, _with_headers(send))

    def _refusal(self, request: Request) -> Response | None:
        if request.headers.get("host") not in self._hosts:
            return PlainTextResponse("This page answers to 127.0.0.1 only.", 421)
        if request.method not in SAFE_METHODS and not self._is_own(request):
            return PlainTextResponse("Only this page itself may change something.", 403)
        if self._same(request.cookies.get(self._cookie)):
            return None
        if request.method in SAFE_METHODS and self._same(request.query_params.get("token")):
            return self._welcome(request)
        return PlainTextResponse("Open the address that `rlpipe ui` printed; it holds the token of this page.", 403)

    def _is_own(self, request: Request) -> bool:
        """Whether a request comes from a page of this server. Browsers send Origin with every POST."""
        origin = request.headers.get("origin", "")
        return origin.removeprefix("http://") in self._hosts and origin.startswith("http://")

    def _same(self, token: str | None) -> bool:
        return token is not None and hmac.compare_digest(token.encode(), self._token.encode())

    def _welcome(self, request: Request) -> Response:
        """The cookie instead of the token, and an address that may be seen."""
        query = [(name, value) for name, value in parse_qsl(request.url.query) if name != "token"]
        answer = RedirectResponse(f"{request.url.path}{'?' + urlencode(query) if query else ''}", 303)
        answer.set_cookie(self._cookie, self._token, httponly=True, samesite="strict", path="/")
        return answer


def _with_headers(send: Send) -> Send:
    """What every answer says; a route's own word goes first."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            given = {name.lower() for name, _ in message["headers"]}
            message["headers"] = [
                *message["headers"],
                *((n.lower().encode(), v.encode()) for n, v in HEADERS.items() if n.lower().encode() not in given),
            ]
        await send(message)

    return sending
