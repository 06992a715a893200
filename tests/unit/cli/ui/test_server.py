"""`rlpipe ui` as a process would start it."""

import socket
import threading
import urllib.request
from collections.abc import Callable

import pytest

from cli.deployment import find
from cli.ui.server import Server
from tests.unit.cli.conftest import Said
from tests.unit.cli.fake_aws import FakeAws, record


def test_a_taken_port_is_said(aws: FakeAws, rlpipe: Callable[..., Said]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        said = rlpipe("ui", "--port", str(taken.getsockname()[1]))
    assert said.exit_code == 2
    assert "`rlpipe ui --port 0` takes a free one" in said.stderr


def test_the_address_is_printed_and_answers_on_loopback_only(
    aws: FakeAws, rlpipe: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("cli.commands.ui.webbrowser.open", opened.append)
    monkeypatch.setattr(Server, "serve", lambda _self: None)
    address = rlpipe("ui", "--port", "0", "--open", "--json").document["url"]
    assert opened == [address]
    assert address.startswith("http://127.0.0.1:")
    assert address not in rlpipe("ui", "--port", "0").stdout, "each start has a token of its own"


def test_the_server_serves_and_ends(aws: FakeAws) -> None:
    aws.records = {"one": record("one")}
    server = Server(find(), 0)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        page = opener.open(server.address, timeout=20)
        assert page.url == f"http://127.0.0.1:{server.port}/"
        assert b"/runs/one" in page.read()
    finally:
        server.end()
        thread.join(20)
    assert not thread.is_alive()
