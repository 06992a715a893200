"""HTTP/1.1 as callers may speak it, without trust in any of it.

llhttp, Node's parser, decides what HTTP is. Everything that a caller could use up has a limit here: the size of a head
and of a body, the seconds that either may take, the connections, the bytes that wait in all of them together, and the
answers that nobody reads. RFC 9110 and RFC 9112 say what else is expected of a server.
"""

import asyncio
import time
from collections import deque
from typing import Protocol, cast

import httptools

from serving_image.formats import JSON
from serving_image.refusals import RefusalError, describe

MAX_BODY_BYTES = 6 * 1024 * 1024
"""InvokeEndpoint's own limit.
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html"""

MAX_TARGET_BYTES = 2048
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
MAX_CONNECTIONS = 1000

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Of unfinished bodies, in all connections together: slow callers cannot fill the memory."""

HEAD_SECONDS = 20.0
"""From the first byte of a request to the end of its head, and from a new connection to its first byte."""

BODY_SECONDS = 60.0
"""How long a body may take to arrive, and an answer to be read; SageMaker itself gives a request no longer."""

KEEP_ALIVE_SECONDS = 75.0
"""Longer than the callers keep theirs, so that no connection is closed just as a request is sent."""

LINGER_SECONDS = 2.0
"""How long is read, and thrown away, what a refused caller still sends: a connection closed at once takes the answer
with it."""

_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    406: "Not Acceptable",
    408: "Request Timeout",
    409: "Conflict",
    413: "Content Too Large",
    414: "URI Too Long",
    415: "Unsupported Media Type",
    417: "Expectation Failed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
    507: "Insufficient Storage",
}

_USUAL = (b"host", b"content-type", b"content-length", b"accept")
_SELDOM = (b"content-encoding", b"transfer-encoding", b"expect")
_FIELDS = {
    spelling: name
    for name in (*_USUAL, *_SELDOM)
    for spelling in (name, b"-".join(word.capitalize() for word in name.split(b"-")))
}
"""Header fields that mean something here, by the two ways in which nearly everybody writes them."""


_Head = tuple[list[tuple[bytes, bytes]], str, dict[bytes, bytes], bool]
"""Header fields as they came, HTTP's version, the fields that mean something here, whether the connection is kept."""


class Request:
    """A whole request. It is answered once, now or later, by `answer`."""

    __slots__ = ("_connection", "accept", "body", "content_type", "keep_alive", "method", "started", "target")

    def __init__(self, connection: "Connection", method: bytes, target: bytes, body: bytes, keep_alive: bool) -> None:
        self._connection = connection
        self.method = method
        self.target = target
        self.content_type: bytes | None = connection.fields.get(b"content-type")
        self.accept: bytes | None = connection.fields.get(b"accept")
        self.body = body
        self.keep_alive = keep_alive
        self.started = time.perf_counter()

    @property
    def is_alone(self) -> bool:
        """Whether no other caller is connected, who could ask at the same time."""
        return len(self._connection.all.open) == 1

    def answer(self, status: int, body: bytes, content_type: str = JSON, extra: str = "") -> None:
        """Send the answer, and go on with what else the connection wants.

        :param extra: more header fields, each ended by CR LF.
        """
        self._connection.answer(self, status, body, content_type, extra)


class Handler(Protocol):
    """What is done with requests."""

    def handle(self, request: Request) -> None:
        """Answer a request, now or later. Whatever it is, this raises nothing."""
        ...

    def refused(self, refusal: RefusalError) -> None:
        """Hear of a request that was refused before it was one."""
        ...


class Connections:
    """All connections of a server, and what they share."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.open: set[Connection] = set()
        self.waiting_bytes = 0
        self.closing = False
        self.now = time.monotonic()
        self._heads: dict[tuple[int, str, str], bytes] = {}

    def __call__(self) -> "Connection":
        """A new connection: what `loop.create_server` asks for."""
        return Connection(self)

    def head(self, status: int, content_type: str, extra: str) -> bytes:
        """Head of an answer up to the length of its body."""
        key = (status, content_type, extra)
        head = self._heads.get(key)
        if head is None:
            lines = f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {content_type}\r\n{extra}"
            head = self._heads[key] = f"{lines}date: {_date()}\r\ncontent-length: ".encode("latin-1")
        return head

    def tick(self) -> None:
        """Once a second: the clock goes on, and who has taken too long is refused or let go."""
        self.now = time.monotonic()
        self._heads.clear()  # the date in them
        for connection in [one for one in self.open if one.deadline < self.now]:
            connection.overdue()

    def close(self) -> None:
        """Take no new requests; those that have begun are finished."""
        self.closing = True
        for connection in list(self.open):
            connection.close_when_done()

    def abort(self) -> None:
        """Let go of everybody."""
        for connection in list(self.open):
            connection.abort()


class Connection(asyncio.Protocol):
    """One caller's connection. Requests on it are answered one after another, in their order."""

    def __init__(self, connections: Connections) -> None:
        self.all = connections
        self._transport: asyncio.Transport = None  # type: ignore[assignment]  # there is none before it is connected
        self._parser = httptools.HttpRequestParser(self)
        self.deadline = connections.now + HEAD_SECONDS
        self._begun = False
        self._silent_bytes = 0
        """Received since the parser last made something of it."""
        self._deaf = False
        """Whether what is received is thrown away."""
        self._queue: deque[Request] = deque()
        self._answering: Request | None = None
        self._draining = False
        self._last_words: bytes | None = None
        """What is sent after the answers that are owed; then the connection ends."""
        self._pauses = 0
        self._unread = False
        """Whether answers wait for the caller to read those before."""
        self._last_head: _Head = ([], "", {}, False)
        self._reset()

    def _reset(self) -> None:
        """Forget the request before."""
        self.fields: dict[bytes, bytes] = {}
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._body = b""
        self._parts: list[bytes] | None = None
        self._body_bytes = 0
        self._head_done = False
        self._keep_alive = False

    # The connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.all.open.add(self)
        if len(self.all.open) > MAX_CONNECTIONS:
            self._refuse(
                503, field="server", given=f"{len(self.all.open)} connections", expected=f"at most {MAX_CONNECTIONS}"
            )

    def connection_lost(self, error: Exception | None) -> None:
        self._deaf = True
        self.all.open.discard(self)
        self._forget_body()
        self._queue.clear()
        self._answering = None

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        self._silent_bytes += len(data)
        self._feed(data)
        if self._deaf:
            return
        if self._silent_bytes > MAX_HEAD_BYTES:
            self._refuse(431, field="headers", given="a long one", expected=f"at most {MAX_HEAD_BYTES} bytes together")
        elif self._begun and not self._head_done:
            self.deadline = min(self.deadline, self.all.now + HEAD_SECONDS)

    def eof_received(self) -> bool:
        """A caller that sends no more may still read: a request that is whole is answered."""
        if self._deaf or not self._owes:
            return False
        self._deaf = True
        self._last_words = b""
        return True

    def pause_writing(self) -> None:
        """Nobody reads the answers: ask for no more requests."""
        self._unread = True
        self.deadline = self.all.now + BODY_SECONDS
        self._pause()

    def resume_writing(self) -> None:
        self._unread = False
        self.deadline = self.all.now + KEEP_ALIVE_SECONDS
        self._resume()

    def _pause(self) -> None:
        self._pauses += 1
        if self._pauses == 1 and not self._transport.is_closing():
            self._transport.pause_reading()

    def _resume(self) -> None:
        self._pauses -= 1
        if self._pauses == 0 and not self._transport.is_closing():
            self._transport.resume_reading()

    def overdue(self) -> None:
        """The deadline has passed."""
        if self._owes and not self._unread:
            self.deadline = self.all.now + BODY_SECONDS  # it is not the caller who is late
        elif self._begun and not self._deaf:
            if self._head_done:
                field, given, seconds = "body", f"{self._body_bytes} bytes", BODY_SECONDS
            else:
                field, given, seconds = "headers", "a part", HEAD_SECONDS
            self._refuse(408, field=field, given=given, expected=f"all of it in {seconds:g} seconds")
        else:
            self.abort()

    def close_when_done(self) -> None:
        """Close at once, or after the request that has begun and the answers that are owed."""
        if self._deaf and not self._owes:
            self.abort()  # it only lingers
        elif not (self._begun or self._owes):
            self._transport.close()

    def abort(self) -> None:
        """Close, whatever is lost."""
        self._transport.abort()

    @property
    def _owes(self) -> bool:
        return self._answering is not None or bool(self._queue)

    # The parser's callbacks. What they raise is an error of the parser's, so they raise nothing.

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._without_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            last = self._queue[-1] if self._queue else self._answering
            if last is not None and not last.keep_alive:
                self._deaf = True  # what follows a request to close is not read
            elif not self._deaf:
                self._refuse(400, field="request", given=describe(str(error)), expected="HTTP/1.1")

    def on_message_begin(self) -> None:
        self._begun = True

    def on_url(self, part: bytes) -> None:
        self._target += part
        self._silent_bytes = 0
        if len(self._target) > MAX_TARGET_BYTES:
            self._refuse(
                414, field="path", given=f"{len(self._target)} bytes", expected=f"at most {MAX_TARGET_BYTES} bytes"
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._deaf:
            return
        self._silent_bytes = 0
        self._head_bytes += len(name) + len(value) + 4
        self._headers.append((name, value))
        if self._head_bytes > MAX_HEAD_BYTES or len(self._headers) > MAX_HEADERS:
            given = f"{len(self._headers)} of {self._head_bytes} bytes"
            expected = f"at most {MAX_HEADERS} of {MAX_HEAD_BYTES} bytes together"
            self._refuse(431, field="headers", given=given, expected=expected)

    def on_headers_complete(self) -> None:
        if self._deaf or self._parser.should_upgrade():
            return
        try:
            self._read_head()
        except RefusalError as refusal:
            self._say(refusal)
            return
        self._head_done = True
        self.deadline = self.all.now + BODY_SECONDS

    def _read_head(self) -> None:
        version = self._parser.get_http_version()
        headers, of_version, fields, keep_alive = self._last_head
        if self._headers == headers and version == of_version:  # as most callers do, again and again
            self.fields, self._keep_alive = fields, keep_alive
            return
        fields, seldom = self.fields, False
        for spelling, value in self._headers:
            name = _FIELDS.get(spelling) or _FIELDS.get(spelling.lower())
            if name is not None:
                if name in fields:
                    if name == b"host" or (name == b"content-type" and value != fields[name]):
                        raise RefusalError(400, field=name.decode(), given="two of them", expected="one")
                    value = fields[name] + b", " + value
                fields[name] = value
                seldom = seldom or name in _SELDOM
        if version == "1.1":
            if b"host" not in fields:
                raise RefusalError(400, field="host", given="none", expected="a Host header")
            self._keep_alive = self._parser.should_keep_alive()
        elif version != "1.0":
            raise RefusalError(400, field="request", given=f"HTTP/{version}", expected="HTTP/1.1")
        length = fields.get(b"content-length")
        if length is not None and int(length) > MAX_BODY_BYTES:
            raise _too_large(f"{int(length)} bytes")
        if seldom:
            self._read_seldom_fields(fields, version)
        else:
            self._last_head = (self._headers, version, fields, self._keep_alive)

    def _read_seldom_fields(self, fields: dict[bytes, bytes], version: str) -> None:
        for name, status, allowed in (
            (b"transfer-encoding", 400, b"chunked"),
            (b"content-encoding", 415, b"identity"),
            (b"expect", 417, b"100-continue"),
        ):
            value = fields.get(name, allowed)
            if value.strip().lower() != allowed:
                given = describe(value.decode("latin-1"))
                raise RefusalError(status, field=name.decode(), given=given, expected=allowed.decode())
        if b"expect" in fields and version == "1.1" and not self._owes:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, part: bytes) -> None:
        if self._deaf:
            return
        self._silent_bytes = 0
        if not self._body_bytes:
            self._body = part
        elif self._parts is None:
            self._parts = [self._body, part]
        else:
            self._parts.append(part)
        self._body_bytes += len(part)
        self.all.waiting_bytes += len(part)
        if self._body_bytes > MAX_BODY_BYTES:
            self._say(_too_large(f"more than {MAX_BODY_BYTES} bytes"))
        elif self.all.waiting_bytes > MAX_WAITING_BYTES:
            given = f"{self.all.waiting_bytes} bytes of unfinished requests"
            self._refuse(
                503, field="server", given=given, expected=f"at most {MAX_WAITING_BYTES} of all callers; try again"
            )

    def on_message_complete(self) -> None:
        if self._deaf or not self._head_done:  # refused, or an upgrade whose body is still to come
            return
        body = b"".join(self._parts) if self._parts is not None else self._body
        request = Request(self, self._parser.get_method(), self._target, body, self._keep_alive)
        self._forget_body()
        self._reset()
        self._begun = False
        self._silent_bytes = 0
        self.deadline = self.all.now + KEEP_ALIVE_SECONDS
        self._queue.append(request)
        if self._answering is None:
            self._drain()
        elif len(self._queue) == 1:
            self._pause()  # until those before are answered

    def _without_upgrade(self, rest: bytes) -> None:
        """Answer in HTTP/1.1 whoever offers something newer: the parser stops there, so another one reads the request
        again, without the offer."""
        if self._deaf:
            return
        method, target, headers = self._parser.get_method(), self._target, self._headers
        if method == b"CONNECT":
            self._refuse(405, field="method", given="CONNECT", expected="GET or POST", allow="GET, POST")
            return
        head = [b"%b %b HTTP/%b" % (method, target, self._parser.get_http_version().encode())]
        head += [b"%b: %b" % header for header in headers if header[0].lower() not in _OF_AN_UPGRADE]
        if not self._parser.should_keep_alive():
            head.append(b"connection: close")
        self._parser = httptools.HttpRequestParser(self)
        self._reset()
        self._feed(b"\r\n".join([*head, b"", b""]))
        if rest and not self._deaf:
            self._feed(rest)

    # Answers

    def _drain(self) -> None:
        """Hand over requests until one is not answered at once."""
        self._draining = True
        while self._queue and self._answering is None:
            self._answering = self._queue.popleft()
            self.all.handler.handle(self._answering)
        self._draining = False

    def answer(self, request: Request, status: int, body: bytes, content_type: str, extra: str) -> None:
        """`Request.answer`."""
        if request is not self._answering:
            return  # the caller has gone
        self._answering = None
        last = self.all.closing or not request.keep_alive
        if last:
            extra += "connection: close\r\n"
        head = self.all.head(status, content_type, extra)
        self._transport.write(b"%b%d\r\n\r\n%b" % (head, len(body), b"" if request.method == b"HEAD" else body))
        if last:
            self._end()
        elif self._draining:
            return
        elif self._queue:
            self._drain()
            if not self._queue:
                self._resume()
        if self._last_words is not None and not self._owes:
            self._transport.write(self._last_words)
            self._end()

    def _refuse(self, status: int, *, field: str, given: str, expected: str, allow: str = "") -> None:
        self._say(RefusalError(status, field=field, given=given, expected=expected, allow=allow))

    def _say(self, refusal: RefusalError) -> None:
        """Refuse what is not a whole request; with it the connection ends."""
        self._deaf = True
        self.all.handler.refused(refusal)
        allow = f"allow: {refusal.allow}\r\n" if refusal.allow else ""
        head = self.all.head(refusal.status, JSON, f"{allow}connection: close\r\n")
        self._last_words = b"%b%d\r\n\r\n%b" % (head, len(refusal.body), refusal.body)
        self._forget_body()
        if not self._owes:
            self._transport.write(self._last_words)
            self._end()

    def _forget_body(self) -> None:
        self.all.waiting_bytes -= self._body_bytes
        self._body_bytes = 0

    def _end(self) -> None:
        """All is said. What the caller still sends is thrown away for a moment, so that it gets to read the answer."""
        self._deaf = True
        self._last_words = None
        self._queue.clear()
        self._forget_body()
        self._reset()
        if self.all.closing or not self._transport.can_write_eof():
            self._transport.close()
        elif not self._transport.is_closing():
            self._transport.write_eof()
            self.deadline = self.all.now + LINGER_SECONDS


_OF_AN_UPGRADE = (b"upgrade", b"connection", b"http2-settings")


def _too_large(given: str) -> RefusalError:
    return RefusalError(413, field="body", given=given, expected=f"at most {MAX_BODY_BYTES} bytes")


def _date() -> str:
    return time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime())
