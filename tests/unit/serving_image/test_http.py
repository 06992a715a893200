"""HTTP/1.1 as it comes over a socket: in pieces, in heaps, wrong, and by clients of every kind."""

import json
import random
import re
import socket
from typing import Any

import h11
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving_image.connection import MAX_HEAD_BYTES, MAX_HEADERS, MAX_TARGET_BYTES
from tests.unit.serving_image.conftest import Server

BODY = b'{"observation": [0, 0, 0, 0]}'
POST = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
GOOD = POST % (len(BODY), BODY)
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"


class Caller:
    """A socket whose answers h11 reads: what is not HTTP/1.1 fails the test."""

    def __init__(self, port: int, methods: tuple[str, ...] = ()) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._methods = list(methods)
        self._connection = h11.Connection(h11.CLIENT)
        self._closed = False

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def answers(self, count: int) -> list[tuple[int, dict[str, str], bytes]]:
        """The next so many answers, without those that only say: continue."""
        return [self.answer() for _ in range(count)]

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        if self._connection.our_state is h11.DONE:
            self._connection.start_next_cycle()
        method = self._methods.pop(0) if self._methods else "POST"
        self._connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
        self._connection.send(h11.EndOfMessage())
        head, body = None, b""
        while True:
            event = self._connection.next_event()
            if event is h11.NEED_DATA:
                self._connection.receive_data(self.socket.recv(65536))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                assert isinstance(event, h11.InformationalResponse), event
        assert head is not None
        return head.status_code, {name.decode(): value.decode() for name, value in head.headers}, body

    def is_closed(self) -> bool:
        """Whether the server has closed, once everything that came before is read."""
        trailing, closed = self._connection.trailing_data
        return not trailing and (closed or self.socket.recv(1) == b"")


def ask(server: Server, data: bytes, *methods: str) -> tuple[int, dict[str, str], bytes]:
    with Caller(server.port, methods) as caller:
        caller.send(data)
        return caller.answer()


def test_pipelined_requests_are_answered_in_their_order(server: Server) -> None:
    wrong = POST % (1, b"{")
    with Caller(server.port) as caller:
        caller.send((GOOD + PING + wrong + GOOD) * 50)
        statuses = [(status, b"action" in body, b"ok" in body) for status, _, body in caller.answers(200)]
    assert statuses == [(200, True, False), (200, False, True), (400, False, False), (200, True, False)] * 50


def test_each_request_of_a_connection_is_read_by_its_own_head(server: Server) -> None:
    """One that has the head of the one before is not read anew; any other is, however little differs."""
    as_binary = GOOD.replace(b"Content-Length", b"Accept: application/msgpack\r\nContent-Length")
    as_text = GOOD.replace(b"application/json", b"text/csv; chars")
    with Caller(server.port) as caller:
        for request, status, form in (
            (GOOD, 200, "application/json"),
            (GOOD, 200, "application/json"),
            (as_binary, 200, "application/msgpack"),
            (as_binary, 200, "application/msgpack"),
            (as_text, 415, "application/json"),
            (GOOD, 200, "application/json"),
            (GOOD.replace(b"HTTP/1.1", b"HTTP/1.0"), 200, "application/json"),
        ):
            caller.send(request)
            answer = caller.answer()
            assert (answer[0], answer[1]["content-type"]) == (status, form)
        assert answer[1]["connection"] == "close", "HTTP/1.0 keeps none unless it is asked to"


def test_a_request_may_come_byte_by_byte(server: Server) -> None:
    with Caller(server.port) as caller:
        for byte in GOOD:
            caller.send(bytes([byte]))
        assert caller.answer()[0] == 200


def test_chunks_with_extensions_and_trailers_are_put_together(server: Server) -> None:
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b"5;name=value\r\n%b\r\n%x\r\n%b\r\n0\r\nTrailer: t\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:])
    with Caller(server.port) as caller:
        caller.send((head + chunks) * 3)
        assert [status for status, _, _ in caller.answers(3)] == [200] * 3


def test_answers_carry_a_date_and_their_length(server: Server) -> None:
    _, headers, body = ask(server, GOOD)
    assert headers["content-length"] == str(len(body))
    assert headers["date"].endswith(" GMT")
    assert "connection" not in headers


def test_head_has_the_head_of_get_and_no_body(server: Server) -> None:
    with Caller(server.port, ("HEAD", "GET")) as caller:
        caller.send(PING.replace(b"GET", b"HEAD") + PING)
        (status, headers, body), (_, other, whole) = caller.answers(2)
    assert (status, body) == (200, b"")
    assert headers["content-length"] == other["content-length"] == str(len(whole))


def test_a_caller_that_offers_an_upgrade_is_answered_in_http_1(server: Server) -> None:
    """As Java's HttpClient and `curl --http2` do with every first request, bodies included."""
    upgrade = b"Host: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    with Caller(server.port, ("POST", "POST", "GET")) as caller:
        caller.send(GOOD.replace(b"Host: x\r\n", upgrade))
        assert caller.answer()[0] == 200
        caller.send(GOOD.replace(b"Host: x\r\n", upgrade)[:-5])
        caller.send(BODY[-5:] + PING)
        assert [status for status, _, _ in caller.answers(2)] == [200, 200]
    with Caller(server.port) as caller:
        caller.send(GOOD.replace(b"Host: x\r\n", upgrade.replace(b"Upgrade, ", b"Upgrade, close, ")))
        assert caller.answer()[1]["connection"] == "close"


def test_expect_100_continue_is_answered_before_the_body_comes(server: Server) -> None:
    head, _, body = GOOD.replace(b"Host: x\r\n", b"Host: x\r\nExpect: 100-Continue\r\n").partition(b"\r\n\r\n")
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(head + b"\r\n\r\n")
        assert connection.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize("target", [b"http://x/ping", b"/ping?verbose=1", b"http://x/ping?a", b"/ping"])
def test_every_form_of_a_target_is_understood(server: Server, target: bytes) -> None:
    assert ask(server, PING.replace(b"/ping", target), "GET")[0] == 200


def test_http_1_0_is_answered_and_closed(server: Server) -> None:
    with Caller(server.port) as caller:
        caller.send(GOOD.replace(b"HTTP/1.1", b"HTTP/1.0").replace(b"Host: x", b"Connection: keep-alive"))
        status, headers, _ = caller.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert caller.is_closed()


def test_what_follows_a_request_to_close_is_not_answered(server: Server) -> None:
    with Caller(server.port) as caller:
        caller.send(GOOD.replace(b"Host: x", b"Host: x\r\nConnection: close") + GOOD)
        status, headers, _ = caller.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert caller.is_closed()


def test_a_caller_that_sends_no_more_still_gets_its_answers(server: Server) -> None:
    with Caller(server.port) as caller:
        caller.send(GOOD * 20)
        caller.socket.shutdown(socket.SHUT_WR)
        assert [status for status, _, _ in caller.answers(20)] == [200] * 20
        assert caller.is_closed()


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        pytest.param(GOOD.replace(b"Host: x\r\n", b""), 400, id="no host"),
        pytest.param(GOOD.replace(b"Host: x\r\n", b"Host: x\r\nHost: y\r\n"), 400, id="two hosts"),
        pytest.param(GOOD.replace(b"Host", b"Content-Type: text/csv\r\nHost"), 400, id="two content types"),
        pytest.param(GOOD.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"), 400, id="length and chunked"),
        pytest.param(GOOD.replace(b"Host", b"Content-Length: 29\r\nHost"), 400, id="two lengths"),
        pytest.param(GOOD.replace(b"Length: 29", b"Length: +29"), 400, id="signed length"),
        pytest.param(GOOD.replace(b"Length: 29", b"Length: 0x1d"), 400, id="hexadecimal length"),
        pytest.param(GOOD.replace(b"Length: 29", b"Length: " + b"9" * 30), 400, id="length beyond all numbers"),
        pytest.param(GOOD.replace(b"Length: 29", b"Length: 9999999999"), 413, id="length beyond the limit"),
        pytest.param(PING.replace(b"Host", b"Transfer-Encoding: gzip, chunked\r\nHost"), 400, id="compressed chunks"),
        pytest.param(GOOD.replace(b"Host", b"Content-Encoding: gzip\r\nHost"), 415, id="compressed"),
        pytest.param(GOOD.replace(b"Host", b"Expect: a miracle\r\nHost"), 417, id="another expectation"),
        pytest.param(GOOD.replace(b"Host:", b"Host :"), 400, id="space before a colon"),
        pytest.param(GOOD.replace(b"Host: x\r\n", b"Host: x\r\n y\r\n"), 400, id="folded line"),
        pytest.param(GOOD.replace(b"\r\n", b"\n"), 400, id="lines without CR"),
        pytest.param(GOOD.replace(b"Host: x", b"Host: x\x00"), 400, id="NUL in a value"),
        pytest.param(GOOD.replace(b"POST", b"P\xc3\x96ST"), 400, id="no method"),
        pytest.param(GOOD.replace(b"HTTP/1.1", b"HTTP/2.0"), 400, id="HTTP/2"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, id="preface of HTTP/2"),
        pytest.param(b"GET /ping\r\n\r\n", 400, id="HTTP/0.9"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, id="TLS"),
        pytest.param(b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 405, id="a tunnel"),
        pytest.param(b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, id="the server itself"),
        pytest.param(b"GET /" + b"a" * MAX_TARGET_BYTES + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, id="long target"),
        pytest.param(PING.replace(b"Host", b"A: b\r\n" * MAX_HEADERS + b"Host"), 431, id="many headers"),
        pytest.param(PING.replace(b"Host", b"A: %b\r\nHost" % (b"b" * MAX_HEAD_BYTES)), 431, id="long header"),
        pytest.param(b"GET /ping HTTP/1.1\r\nA: " + b"b" * 2**20, 431, id="endless header"),
        pytest.param(b"G" * 100_000, 400, id="endless method"),
        pytest.param(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"b" * 2**20,
            431,
            id="endless trailer",
        ),
        pytest.param(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"b" * 2**20,
            431,
            id="endless extension of a chunk",
        ),
        pytest.param(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, id="bad chunk"
        ),
    ],
)
def test_what_is_not_a_request_is_refused_and_the_connection_ends(server: Server, wrong: bytes, status: int) -> None:
    keeps = status == 404
    with Caller(server.port) as caller:
        caller.send(GOOD)
        assert caller.answer()[0] == 200
        caller.send(wrong)
        found, headers, body = caller.answer()
        assert found == status, body
        assert sorted(json.loads(body)["error"]) == ["expected", "field", "given"]
        assert ("allow" in headers) == (status == 405)
        if not keeps:
            assert headers["connection"] == "close"
            assert caller.is_closed()
    assert ask(server, GOOD)[0] == 200


def test_who_is_refused_can_read_why_though_it_sends_on(server: Server) -> None:
    """A connection closed under a caller that still sends is reset, and takes the answer with it."""
    with Caller(server.port) as caller:
        caller.send(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
        for _ in range(50):
            caller.send(b" " * 65536)
        status, _, body = caller.answer()
    assert status == 413
    assert b"at most 6291456 bytes" in body


def test_who_does_not_read_is_not_served_on(server: Server) -> None:
    """The answers to what it sends must not pile up in the server."""
    requests = PING * 2000
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        sent = 0
        try:
            for _ in range(2000):
                sent += connection.send(requests)
                assert ask(server, GOOD)[0] == 200, "the others are served meanwhile"
        except BlockingIOError:
            pass
        assert sent < 64 * 2**20
    assert ask(server, GOOD)[0] == 200


def mutated(random_: random.Random) -> bytes:
    """A request with something wrong, or nothing."""
    data = bytearray(random_.choice([GOOD, PING, GOOD.replace(b"Host: x", b"Host: x\r\nExpect: 100-continue")]))
    for _ in range(random_.randrange(4)):
        place = random_.randrange(len(data))
        kind = random_.randrange(4)
        if kind == 0:
            data[place] = random_.randrange(256)
        elif kind == 1:
            del data[place : place + random_.randrange(1, 8)]
        elif kind == 2:
            data[place:place] = random_.choice([b"\r\n", b"\n", b" ", b":", b"\x00", b"\xff", b"Content-Length: 3\r\n"])
        else:
            data[place:place] = data[place : place + random_.randrange(1, 30)]
        if not data:
            data = bytearray(b"\r\n")
    return bytes(data)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_what_h11_refuses_is_not_served(server: Server, seed: int) -> None:
    """Two readers of one request that understand it differently are how requests are smuggled."""
    data = mutated(random.Random(seed))
    with Caller(server.port) as caller:
        caller.send(data)
        caller.socket.shutdown(socket.SHUT_WR)
        answer = b""
        while received := caller.socket.recv(65536):
            answer += received
    statuses = [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", answer)]
    assert all(status < 500 for status in statuses), data
    if _first_by_h11(data) is None and statuses:
        assert statuses[0] in (100, 400, 404, 405, 408, 413, 414, 415, 417, 431), data


def _first_by_h11(data: bytes) -> Any:
    """The first request as h11 reads it, or None when it refuses it."""
    theirs = h11.Connection(h11.SERVER)
    # Blank lines before it are to be passed over, and more spaces may be taken for one (RFC 9112, 2.2 and 3).
    theirs.receive_data(re.sub(rb"^([A-Z]+) +(\S+) +HTTP", rb"\1 \2 HTTP", data.lstrip(b"\r\n")))
    theirs.receive_data(b"")
    try:
        event = theirs.next_event()
        while not isinstance(event, h11.EndOfMessage):
            if isinstance(event, h11.ConnectionClosed) or event is h11.PAUSED:
                return None
            event = theirs.next_event()
    except h11.RemoteProtocolError:
        return None
    return event
