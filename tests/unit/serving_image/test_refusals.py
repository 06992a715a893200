"""Bad input gets a 4xx that says what is expected, and the server answers on."""

import json
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_image.connection import MAX_BODY_BYTES
from serving_image.questions import MAX_BATCH
from tests.unit.serving_image.conftest import JSON, Server
from tests.unit.serving_image.models import VALID

GOOD = [0.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("document", "field", "given", "expected"),
    [
        pytest.param({"observation": [0, 0, 0]}, "observation", "a list of 3", "a list of 4", id="too short"),
        pytest.param({"observation": [0] * 5}, "observation", "a list of 5", "a list of 4", id="too long"),
        pytest.param({"observation": []}, "observation", "a list of 0", "a list of 4", id="empty"),
        pytest.param({"observation": 3}, "observation", "3", "a list of 4", id="not a list"),
        pytest.param({"observation": None}, "observation", "null", "a list of 4", id="null"),
        pytest.param({"observation": {"x": 1}}, "observation", "an object", "a list of 4", id="object"),
        pytest.param({"observation": "0,0,0,0"}, "observation", "'0,0,0,0'", "a list of 4", id="text"),
        pytest.param({"observation": [GOOD]}, "observation", "a list of 1", "a list of 4", id="batch as single"),
        pytest.param({"observation": [0, "1", 0, 0]}, "observation[1]", "'1'", "a number", id="text inside"),
        pytest.param({"observation": [0, 0, True, 0]}, "observation[2]", "true", "a number", id="boolean inside"),
        pytest.param({"observation": [0, 0, 0, None]}, "observation[3]", "null", "a number", id="null inside"),
        pytest.param({"observation": [0, 0, [0], 0]}, "observation[2]", "a list of 1", "a number", id="list inside"),
        pytest.param({"observation": [1e39, 0, 0, 0]}, "observation[0]", "1e+39", "to 3.40282e+38", id="over float32"),
        pytest.param({"observation": [0, -1e300, 0, 0]}, "observation[1]", "-1e+300", "from -3.4", id="under float32"),
        pytest.param({"observations": []}, "observations", "a list of 0", "1 to 1024", id="empty batch"),
        pytest.param({"observations": [GOOD] * (MAX_BATCH + 1)}, "observations", "1025", "1 to 1024", id="large batch"),
        pytest.param({"observations": {"0": GOOD}}, "observations", "an object", "a list of 1", id="batch is object"),
        pytest.param({"observations": GOOD}, "observations[0]", "0.0", "a list of 4", id="single as batch"),
        pytest.param({"observations": [GOOD, [0, 0]]}, "observations[1]", "a list of 2", "a list of 4", id="ragged"),
        pytest.param(
            {"observations": [GOOD, [0, 0, 0, "a"]]}, "observations[1][3]", "'a'", "a number", id="text in 2nd"
        ),
        pytest.param(
            {"observation": GOOD, "observations": [GOOD]}, "body", "observation, ", "exactly one", id="both keys"
        ),
        pytest.param({}, "body", "an empty object", '{"observation": ...}', id="no key"),
        pytest.param({"instances": [GOOD]}, "body", "instances", '{"observation": ...}', id="another key"),
        pytest.param(
            {"observation": GOOD, "x": 1}, "body", "the key 'x'", "only deterministic, obs", id="a key too many"
        ),
        pytest.param(GOOD, "body", "a list of 4", '{"observation": ...}', id="list as body"),
        pytest.param("observation", "body", "'observation'", '{"observation": ...}', id="text as body"),
    ],
)
def test_wrong_document(server: Server, document: Any, field: str, given: str, expected: str) -> None:
    reply = server.invoke(document)
    assert reply.status == 400
    assert reply.error["field"] == field
    assert given in reply.error["given"]
    assert expected in reply.error["expected"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"observation": [NaN, 0, 0, 0]}',
        b'{"observation": [Infinity, 0, 0, 0]}',
        b'{"observation": [-Infinity, 0, 0, 0]}',
        b'{"observation": [1e999, 0, 0, 0]}',
        b'{"observation": [0, 0, 0, 0]',
        b'{"observation": [0, 0, 0, 0]} trailing',
        b"\xff\xfe",
        b'{"observation": "\xff"}',
        b"[" * 100_000,
        b'{"observation": ' + b"[" * 1000 + b"]" * 1000 + b"}",
        b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00.",
    ],
)
def test_malformed_json(server: Server, body: bytes) -> None:
    reply = server.invoke_raw(body)
    assert reply.status == 400
    assert reply.error["field"] in {"body", "observation"}


@pytest.mark.parametrize("content_type", ["text/csv", "application/x-npz", "application/jsonlines", "", "json"])
def test_wrong_content_type(server: Server, content_type: str) -> None:
    reply = server.request("POST", "/invocations", b"0,0,0,0", {"Content-Type": content_type})
    assert reply.status == 415
    expected = "application/json, application/msgpack or application/x-npy"
    assert (reply.error["field"], reply.error["expected"]) == ("content-type", expected)


def test_unknown_path(server: Server) -> None:
    for path in (
        "/",
        "/invocations/",
        "/ping/../etc",
        "/model",
        "/%69nvocation",
        "/models/other",
        "/models/other/invoke",
    ):
        reply = server.request("GET", path)
        assert (reply.status, reply.error["field"]) == (404, "path")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "/ping", "GET, HEAD"),
        ("GET", "/invocations", "POST"),
        ("PUT", "/invocations", "POST"),
        ("POST", "/models", "GET, HEAD"),
        ("DELETE", "/models/default", "GET, HEAD"),
        ("PUT", "/models/default/invoke", "POST"),
    ],
)
def test_wrong_method(server: Server, method: str, path: str, allowed: str) -> None:
    reply = server.request(method, path)
    assert (reply.status, reply.headers["allow"]) == (405, allowed)
    assert reply.error["expected"] == f"{allowed} {path}"


def test_body_over_the_limit_is_refused_before_it_is_sent(server: Server) -> None:
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413 ")


def test_body_of_unknown_length_is_refused_at_the_limit(server: Server) -> None:
    pieces = iter([b" " * 2**20] * 7)
    reply = server.request("POST", "/invocations", pieces, JSON)  # type: ignore[arg-type]
    assert (reply.status, reply.error["field"]) == (413, "body")


def test_body_just_within_the_limit_is_read(server: Server) -> None:
    body = json.dumps({"observation": GOOD}).encode()
    assert server.invoke_raw(body.ljust(MAX_BODY_BYTES)).status == 200


@pytest.mark.parametrize(
    "request_line", [b"nonsense\r\n\r\n", b"GET http:///// HTTP/1.1\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\n\r\n"]
)
def test_what_is_not_http_is_refused(server: Server, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(request_line)
        assert connection.recv(4096).startswith(b"HTTP/1.1 4")
    assert server.invoke({"observation": GOOD}).status == 200


def test_caller_that_leaves_midway_does_no_harm(server: Server) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
            connection.sendall(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    assert server.invoke({"observation": GOOD}).status == 200


WRONG_ELEMENTS: dict[str, list[tuple[Any, str, str]]] = {
    "image": [
        ([[[0], [0], [256]], [[0], [0], [0]]], "observation[0][2][0]", "0 to 255"),
        ([[[0], [0], [0]], [[0], [-1], [0]]], "observation[1][1][0]", "0 to 255"),
        ([[[0], [0], [0.5]], [[0], [0], [0]]], "observation[0][2][0]", "a whole number"),
        ([[[0], [0]], [[0], [0], [0]]], "observation[0]", "a list of 3"),
        ([[0, 0, 0], [0, 0, 0]], "observation[0][0]", "a list of 1"),
    ],
    "discrete": [
        (16, "observation", "0 to 15"),
        (-1, "observation", "0 to 15"),
        ([3], "observation", "whole number"),
        (1.0, "observation", "whole number"),
        (True, "observation", "whole number"),
        (10**25, "observation", "whole number"),
    ],
    "multidiscrete": [
        ([0, 5, 0], "observation[1]", "0 to 4"),
        ([2, 0, 0], "observation[0]", "0 to 1"),
        ([0, 0], "observation", "list of 3"),
    ],
    "dict": [
        ([0.1, -0.2, 0.03, 1], "observation", "an object with exactly position, gear"),
        ({"position": [0, 0, 0, 0]}, "observation", "an object with exactly position, gear"),
        ({"position": [0, 0, 0, 0], "gear": 0, "x": 0}, "observation", "an object with exactly position, gear"),
        ({"position": [0, 0, "a", 0], "gear": 0}, "observation.position[2]", "a number"),
        ({"position": [0, 0, 0, 0], "gear": 4}, "observation.gear", "-1 to 3"),
    ],
    "multibinary": [
        ([0, 1, 2, 0], "observation[2]", "0 to 1"),
        ([0, 1, True, 0], "observation[2]", "0 to 1"),
    ],
}


def test_elements_outside_the_space(other_space: tuple[str, Server]) -> None:
    name, server = other_space
    for observation, field, expected in WRONG_ELEMENTS[name]:
        reply = server.invoke({"observation": observation})
        assert (reply.status, reply.error["field"]) == (400, field), observation
        assert expected in reply.error["expected"]
        batch = server.invoke({"observations": [VALID[name][0], observation]})
        assert (batch.status, batch.error["field"]) == (400, field.replace("observation", "observations[1]"))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)
_almost_good = st.fixed_dictionaries({}, optional={"observation": _values, "observations": _values | st.lists(_values)})


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=300)
    | _values.map(lambda v: json.dumps(v).encode())
    | _almost_good.map(lambda v: json.dumps(v).encode())
)
def test_no_body_whatever_ends_in_a_server_error(server: Server, body: bytes) -> None:
    reply = server.invoke_raw(body)
    if reply.status == 200:
        actions = reply.document.get("actions", [reply.document.get("action")])
        assert all(action in (0, 1) for action in actions)
    else:
        assert reply.status == 400
        assert reply.error["expected"]
    assert server.process.poll() is None
