"""The page of an account in memory, and a browser that has opened the printed address."""

import asyncio
import html
import json
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest
from starlette.types import ASGIApp

from cli.deployment import find
from cli.ui.server import application
from tests.unit.cli.fake_aws import FakeAws

PORT, TOKEN = 4999, "the-token"
OWN = f"http://127.0.0.1:{PORT}"


@dataclass
class Answer:
    """What the server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """What a person reads, without markup."""
        plain = re.sub(r"<script.*?</script>", " ", self.body.decode(), flags=re.DOTALL)
        return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", plain).split()))

    @property
    def charts(self) -> list[dict[str, Any]]:
        """The documents of the page's charts."""
        found = re.findall(r'class="document">(.*?)</script>', self.body.decode(), re.DOTALL)
        return [json.loads(document) for document in found]


class Browser:
    """Sends requests straight to the application."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.cookie: str | None = None

    def get(self, target: str, **headers: str) -> Answer:
        return self._send("GET", target, b"", headers)

    def post(self, target: str, fields: dict[str, str] | None = None, **headers: str) -> Answer:
        headers = {"origin": OWN, "content_type": "application/x-www-form-urlencoded", **headers}
        return self._send("POST", target, urlencode(fields or {}).encode(), headers)

    def _send(self, method: str, target: str, body: bytes, headers: dict[str, str]) -> Answer:
        path, _, query = target.partition("?")
        named = {"host": f"127.0.0.1:{PORT}", **({"cookie": self.cookie} if self.cookie else {}), **headers}
        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()],
        }
        sent: list[Any] = []

        requests = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive() -> Any:
            if (request := next(requests, None)) is None:
                await asyncio.Event().wait()  # it stays connected
            return request

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self._app(scope, receive, send))
        answered = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
        if "set-cookie" in answered:
            self.cookie = answered["set-cookie"].partition(";")[0]
        return Answer(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture
def stranger(aws: FakeAws) -> Browser:
    """A browser without the token."""
    return Browser(application(find(), port=PORT, token=TOKEN))


@pytest.fixture
def browser(stranger: Browser) -> Browser:
    """A browser that opened the printed address."""
    assert stranger.get(f"/?token={TOKEN}").status == 303
    return stranger
