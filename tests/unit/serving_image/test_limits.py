"""What a connection does as time passes and answers are late, on a clock and a transport of the test's own."""

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_image import connection
from serving_image.connection import (
    BODY_SECONDS,
    HEAD_SECONDS,
    KEEP_ALIVE_SECONDS,
    LINGER_SECONDS,
    MAX_CONNECTIONS,
    Connection,
    Connections,
    Request,
)
from serving_image.refusals import RefusalError

BODY = b'{"observation": [0, 0, 0, 0]}'
GOOD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


class Transport:
    """Remembers what is done to it."""

    def __init__(self) -> None:
        self.written = b""
        self.state = "open"
        self.reads = True

    def write(self, data: bytes) -> None:
        assert self.state == "open", "nothing is sent after the end"
        self.written += data

    def write_eof(self) -> None:
        self.state = "ended"

    def can_write_eof(self) -> bool:
        return True

    def is_closing(self) -> bool:
        return self.state in ("closed", "aborted")

    def close(self) -> None:
        self.state = "closed"

    def abort(self) -> None:
        self.state = "aborted"

    def pause_reading(self) -> None:
        assert self.reads
        self.reads = False

    def resume_reading(self) -> None:
        assert not self.reads
        self.reads = True

    @property
    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", self.written)]


class Handler:
    """Answers at once, or when the test says so."""

    def __init__(self) -> None:
        self.late = False
        self.waiting: list[Request] = []
        self.refusals: list[RefusalError] = []

    def handle(self, request: Request) -> None:
        if self.late:
            self.waiting.append(request)
        else:
            request.answer(200, b"{}")

    def refused(self, refusal: RefusalError) -> None:
        self.refusals.append(refusal)


class World:
    """A server without a network."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
        self.time = 1000.0
        self.handler = Handler()
        self.connections = Connections(self.handler)
        self.connections.now = self.time
        self._patch = monkeypatch

    def caller(self) -> tuple[Connection, Transport]:
        transport = Transport()
        opened = self.connections()
        opened.connection_made(transport)  # type: ignore[arg-type]
        return opened, transport

    def passes(self, seconds: float) -> None:
        """Time passes, and the server's clock with it, second by second."""
        assert self._patch is not None
        until = self.time + seconds
        while self.time < until:
            self.time = min(until, self.time + 1)
            self._patch.setattr(connection.time, "monotonic", lambda: self.time)
            self.connections.tick()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_an_idle_connection_is_let_go(world: World) -> None:
    caller, transport = world.caller()
    caller.data_received(GOOD)
    world.passes(KEEP_ALIVE_SECONDS - 1)
    assert transport.state == "open"
    world.passes(2)
    assert transport.state == "aborted"
    assert transport.statuses == [200]


def test_who_says_nothing_at_all_is_let_go(world: World) -> None:
    _, transport = world.caller()
    world.passes(HEAD_SECONDS + 1)
    assert (transport.state, transport.written) == ("aborted", b"")


def test_a_head_that_takes_its_time_is_refused(world: World) -> None:
    """One byte every few seconds keeps no connection."""
    caller, transport = world.caller()
    caller.data_received(GOOD)
    for byte in GOOD[: int(HEAD_SECONDS) + 2]:
        caller.data_received(bytes([byte]))
        world.passes(1)
    assert transport.statuses == [200, 408]
    world.passes(LINGER_SECONDS + 1)
    assert transport.state == "aborted"


def test_a_body_that_takes_its_time_is_refused(world: World) -> None:
    caller, transport = world.caller()
    caller.data_received(GOOD[:-20])
    for byte in GOOD[-20:-1]:
        caller.data_received(bytes([byte]))
        world.passes(BODY_SECONDS / 18)
    assert transport.statuses == [408]
    assert world.connections.waiting_bytes == 0
    caller.data_received(GOOD[-1:] + GOOD)
    assert transport.statuses == [408], "it is too late"


def test_who_does_not_read_is_let_go(world: World) -> None:
    caller, transport = world.caller()
    caller.pause_writing()
    assert not transport.reads
    world.passes(BODY_SECONDS / 2)
    caller.resume_writing()
    assert transport.reads
    caller.pause_writing()
    world.passes(BODY_SECONDS + 1)
    assert transport.state == "aborted"


def test_a_caller_does_not_pay_for_a_late_answer(world: World) -> None:
    world.handler.late = True
    caller, transport = world.caller()
    caller.data_received(GOOD)
    world.passes(10 * BODY_SECONDS)
    world.handler.waiting[0].answer(200, b"{}")
    assert (transport.statuses, transport.state) == ([200], "open")


def test_late_answers_keep_their_order_and_nothing_more_is_read_meanwhile(world: World) -> None:
    world.handler.late = True
    caller, transport = world.caller()
    caller.data_received(GOOD * 3)
    assert len(world.handler.waiting) == 1, "one after another"
    assert not transport.reads
    world.handler.late = False
    world.handler.waiting[0].answer(404, b"{}")
    assert transport.statuses == [404, 200, 200]
    assert transport.reads
    caller.data_received(GOOD)
    assert transport.statuses == [404, 200, 200, 200]


def test_what_is_refused_is_said_after_the_answers_that_are_owed(world: World) -> None:
    world.handler.late = True
    caller, transport = world.caller()
    caller.data_received(GOOD + GOOD + b"nonsense\r\n\r\n")
    caller.data_received(GOOD)
    assert transport.written == b""
    world.handler.waiting[0].answer(200, b"{}")
    assert transport.statuses == [200]
    world.handler.waiting[1].answer(200, b"{}")
    assert transport.statuses == [200, 200, 400]
    assert transport.state == "ended"
    assert len(world.handler.waiting) == 2


def test_an_answer_to_somebody_who_has_gone_is_dropped(world: World) -> None:
    world.handler.late = True
    caller, transport = world.caller()
    caller.data_received(GOOD)
    caller.connection_lost(None)
    world.handler.waiting[0].answer(200, b"{}")
    assert transport.written == b""
    assert world.connections.open == set()


def test_one_connection_too_many_is_told_so(world: World) -> None:
    for _ in range(MAX_CONNECTIONS):
        world.caller()
    _, transport = world.caller()
    assert transport.statuses == [503]
    caller, _ = world.caller()
    caller.connection_lost(None)


def test_unfinished_bodies_have_a_limit_together(world: World) -> None:
    half = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 6000000\r\n\r\n" + b" " * 5_000_000
    callers = [world.caller() for _ in range(20)]
    for caller, _ in callers:
        caller.data_received(half)
    refused = [transport for _, transport in callers if transport.statuses]
    assert len(refused) == 20 - connection.MAX_WAITING_BYTES // 5_000_000
    assert all(transport.statuses == [503] for transport in refused)
    assert world.connections.waiting_bytes <= connection.MAX_WAITING_BYTES
    for caller, _ in callers:
        caller.connection_lost(None)
    assert world.connections.waiting_bytes == 0


def test_closing_lets_idle_callers_go_and_finishes_what_has_begun(world: World) -> None:
    idle, begun, owed = world.caller(), world.caller(), world.caller()
    idle[0].data_received(GOOD)
    begun[0].data_received(GOOD[:40])
    world.handler.late = True
    owed[0].data_received(GOOD)
    world.connections.close()
    assert (idle[1].state, begun[1].state, owed[1].state) == ("closed", "open", "open")
    world.handler.late = False
    begun[0].data_received(GOOD[40:])
    world.handler.waiting[0].answer(200, b"{}")
    for _, transport in (begun, owed):
        assert transport.statuses == [200]
        assert b"connection: close" in transport.written
        assert transport.state == "closed"


def test_a_date_is_of_its_second(world: World) -> None:
    caller, transport = world.caller()
    caller.data_received(GOOD)
    assert world._patch is not None
    world._patch.setattr(connection, "_date", lambda: "another")
    caller.data_received(GOOD)
    assert b"another" not in transport.written
    world.passes(1)
    caller.data_received(GOOD)
    assert b"date: another\r\n" in transport.written


PIECES: list[Any] = [
    GOOD,
    b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n0\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nabc",
    b"\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"nonsense\r\n\r\n",
]


@given(
    data=st.lists(st.sampled_from(PIECES), max_size=6).map(b"".join),
    cuts=st.lists(st.integers(0, 400), max_size=12),
    late=st.booleans(),
)
def test_how_a_stream_is_cut_changes_no_answer(data: bytes, cuts: list[int], late: bool) -> None:
    def answers(pieces: list[bytes], late: bool) -> list[int]:
        world = World()
        world.handler.late = late
        caller, transport = world.caller()
        for piece in pieces:
            caller.data_received(piece)
            for request in world.handler.waiting:
                request.answer(200, json.dumps(request.body.decode()).encode())
        while world.handler.waiting and world.handler.waiting.pop(0):
            for request in world.handler.waiting:
                request.answer(200, json.dumps(request.body.decode()).encode())
        return transport.statuses

    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    pieces = [data[first:last] for first, last in pairwise(places)]
    assert answers(pieces, late) == answers([data], False)
