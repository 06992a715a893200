"""The function in the network asks the load balancer for whoever may not."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lambdas.ask import handler as ask


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, dict[str, str], Any]]]:
    """What a load balancer on loopback was asked; it answers with the body's `status` and the body itself."""
    seen: list[tuple[str, dict[str, str], Any]] = []

    class Balancer(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            seen.append((self.path, dict(self.headers.items()), json.loads(body)))
            self.send_response(json.loads(body).get("status", 200))
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Balancer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("LOAD_BALANCER_URL", f"http://127.0.0.1:{server.server_port}/before")
        yield seen
        server.shutdown()


@pytest.mark.parametrize(("status", "told"), [(200, 200), (400, 400), (404, 404), (413, 400), (500, 502), (503, 502)])
def test_a_request_of_the_api_is_passed_on_and_its_answer_back(asked: list[Any], status: int, told: int) -> None:
    body = json.dumps({"observation": [0.5], "status": status})
    answer = ask.handler({"pathParameters": {"endpoint": "cartpole"}, "body": body}, None)
    assert answer == {"statusCode": told, "headers": {"Content-Type": "application/json"}, "body": body}
    [(path, headers, sent)] = asked
    assert (path, headers["X-Rlpipe-Endpoint"], sent["observation"]) == ("/before/invocations", "cartpole", [0.5])


@pytest.mark.parametrize("endpoint", ["", "a b", "x\r\nHost: y", "\u2603", "x" * 64])
def test_what_is_no_name_of_an_endpoint_is_not_asked_for(asked: list[Any], endpoint: str) -> None:
    answer = ask.handler({"pathParameters": {"endpoint": endpoint}, "body": "{}"}, None)
    assert (answer["statusCode"], asked) == (404, [])


def test_the_smoke_test_learns_how_long_it_took(asked: list[Any]) -> None:
    answer = ask.handler({"endpoint": "cartpole", "body": "{}"}, None)
    assert answer["statusCode"] == 200
    assert 0 < answer["seconds"] < 20


def test_a_load_balancer_that_does_not_answer_is_a_502(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOAD_BALANCER_URL", "http://127.0.0.1:1")
    answer = ask.handler({"endpoint": "cartpole", "body": "{}"}, None)
    assert (answer["statusCode"], "cartpole does not answer: ConnectionRefused" in answer["body"]) == (502, True)
