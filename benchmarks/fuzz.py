"""A million requests, good, bad and worse, at a sustained load: what the serving container makes of them.

Every answer is held against what the request deserves: 200 for good ones, the right refusal for bad ones, and never
500 or more. Meanwhile some callers are slow, some leave midway, and some never read. Afterwards the container must be
alive, have no connection left, and use no more memory than it did when it was warm.
"""

import asyncio
import contextlib
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ormsgpack
import psutil
import uvloop

from benchmarks.results import ROOT, table, write
from benchmarks.serving_model import OBSERVATION_SIZE, write_model

REQUESTS = 1_000_000
CALLERS = 32
AT_ONCE = 16
"""Requests that a caller sends before it reads the answers."""

SLOW_CALLERS = 20
ALLOWED_GROWTH_MB = 10.0

_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r]*\r\n(?:[^\r]+\r\n)*?content-length: (\d+)\r\n\r\n")


@dataclass(frozen=True)
class Kind:
    """A request, what it deserves, and whether the connection ends with it."""

    name: str
    data: bytes
    statuses: frozenset[int]
    closes: bool = False


@dataclass
class Findings:
    """What happened."""

    sent: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    memory_mb: list[float] = field(default_factory=list)
    connections_left: int = 0
    exit_code: int | None = None

    @property
    def growth_mb(self) -> float:
        """From the first tenth of the requests to the end."""
        warm = self.memory_mb[len(self.memory_mb) // 10 :]
        return max(warm[-3:]) - min(warm[:3])

    @property
    def passed(self) -> bool:
        """Whether the container did as it should."""
        errors = sum(number for status, number in self.statuses.items() if status >= 500)
        quiet = self.growth_mb <= ALLOWED_GROWTH_MB and self.connections_left == 0
        return not self.wrong and errors == 0 and quiet and self.exit_code == 0


def main() -> str:
    """Send all of them; returns the table."""
    with tempfile.TemporaryDirectory() as folder:
        found = run(Path(folder), REQUESTS, say=True)
    content = {
        "requests": found.sent.total(),
        "seconds": round(found.seconds, 1),
        "requests_per_second": round(found.sent.total() / found.seconds),
        "sent": dict(found.sent.most_common()),
        "statuses": {str(status): number for status, number in sorted(found.statuses.items())},
        "wrong": found.wrong[:20],
        "memory_mb": found.memory_mb,
        "growth_mb": round(found.growth_mb, 1),
        "connections_left": found.connections_left,
        "exit_code": found.exit_code,
        "passed": found.passed,
    }
    write("fuzz", "python -m benchmarks fuzz", content)
    rows = [
        ["requests", f"{found.sent.total():,} in {found.seconds:.0f} s"],
        ["answers", ", ".join(f"{number:,} x {status}" for status, number in sorted(found.statuses.items()))],
        ["answers that were not deserved", str(len(found.wrong))],
        [
            "memory at the start, after a tenth, at the end",
            " / ".join(f"{found.memory_mb[at]:.1f} MB" for at in (0, len(found.memory_mb) // 10, -1)),
        ],
        ["passed", "yes" if found.passed else "no"],
    ]
    return table(["", ""], rows)


def run(folder: Path, requests: int, *, seed: int = 0, say: bool = False) -> Findings:
    """Start a container with a small policy and send so many requests."""
    with _server(write_model(folder / "model"), folder / "log") as (process, port):
        found = uvloop.run(_fuzz(port, process, requests, random.Random(seed), say=say))  # noqa: S311 - not a secret
        process.terminate()
        found.exit_code = process.wait(timeout=60)
    return found


@contextlib.contextmanager
def _server(model: Path, log: Path) -> "Iterator[tuple[subprocess.Popen[bytes], int]]":
    environment = {"SM_MODEL_DIR": str(model), "SAGEMAKER_BIND_TO_PORT": "0", "RLPIPE_BIND_HOST": "127.0.0.1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving_image.server", "serve"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", **environment},
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while not (listens := re.search(rb'"port":(\d+)', log.read_bytes())):
            if process.poll() is not None:
                raise RuntimeError(f"the container did not start:\n{log.read_text()}")
            time.sleep(0.02)
        yield process, int(listens[1])
    finally:
        process.kill()
        process.wait()


async def _fuzz(
    port: int, process: "subprocess.Popen[bytes]", requests: int, dice: random.Random, *, say: bool
) -> Findings:
    found = Findings()
    kinds = _kinds(dice)
    watched = psutil.Process(process.pid)
    left = [requests]
    done = asyncio.Event()
    slow = [asyncio.create_task(_slow_caller(port, dice, done)) for _ in range(SLOW_CALLERS)]
    watching = asyncio.create_task(_watch(watched, found, done, requests, say))
    began = time.monotonic()
    await asyncio.gather(*(_caller(port, kinds, left, dice, found) for _ in range(CALLERS)))
    found.seconds = time.monotonic() - began
    done.set()
    await asyncio.gather(*slow, watching)
    found.memory_mb.append(watched.memory_info().rss / 2**20)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found.connections_left = sum(one.status == "ESTABLISHED" for one in watched.net_connections("tcp"))
        if not found.connections_left:
            break
        await asyncio.sleep(0.2)
    return found


async def _watch(watched: psutil.Process, found: Findings, done: asyncio.Event, requests: int, say: bool) -> None:
    """Note the memory whenever another hundredth is done."""
    while not done.is_set():
        if found.sent.total() >= len(found.memory_mb) * requests / 100:
            found.memory_mb.append(watched.memory_info().rss / 2**20)
            if say:
                print(f"{found.sent.total():,} sent, {found.memory_mb[-1]:.1f} MB", flush=True)  # noqa: T201
        await asyncio.sleep(0.02)


async def _caller(port: int, kinds: list[Kind], left: list[int], dice: random.Random, found: Findings) -> None:
    """Send requests on connections that last as long as the container lets them."""
    while left[0] > 0:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
        with contextlib.suppress(ConnectionError):
            while left[0] > 0:
                chosen = dice.choices(kinds, k=min(AT_ONCE, left[0]))
                last = next((index for index, kind in enumerate(chosen) if kind.closes), len(chosen) - 1)
                chosen = chosen[: last + 1]
                left[0] -= len(chosen)
                found.sent.update(kind.name for kind in chosen)
                writer.write(b"".join(kind.data for kind in chosen))
                if not await _read(reader, chosen, found):
                    break
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def _read(reader: asyncio.StreamReader, chosen: list[Kind], found: Findings) -> bool:
    """Hold the answers against what was deserved; answers whether the connection goes on."""
    buffer = b""
    for kind in chosen:
        while not (head := _STATUS.search(buffer)) or len(buffer) < head.end() + int(head[2]):
            received = await asyncio.wait_for(reader.read(2**20), 120)
            if not received:
                found.wrong.append(f"{kind.name}: no answer to {kind.data[:200]!r}")
                return False
            buffer += received
        status = int(head[1])
        found.statuses[status] += 1
        if status not in kind.statuses:
            body = buffer[head.end() : head.end() + int(head[2])]
            found.wrong.append(f"{kind.name}: {status} {body[:200]!r} to {kind.data[:200]!r}")
        buffer = buffer[head.end() + int(head[2]) :]
    return not chosen[-1].closes


async def _slow_caller(port: int, dice: random.Random, done: asyncio.Event) -> None:
    """Send byte by byte, leave midway, or never read what is answered."""
    good = _http(_json({"observation": [0.0] * OBSERVATION_SIZE}))
    while not done.is_set():
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionError):
            for byte in good[: dice.randrange(1, len(good))] if dice.random() < 0.7 else good * 20:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.001 * dice.random())
                if done.is_set():
                    break
        writer.transport.abort()


def _kinds(dice: random.Random) -> list[Kind]:
    """Many requests of each kind; in a choice of them about half are good."""
    makers = {name.removeprefix("_make_"): maker for name, maker in globals().items() if name.startswith("_make_")}
    kinds = []
    for name, maker in makers.items():
        for _ in range(400 if name.startswith("good") else 100):
            data, statuses, *closes = maker(dice)
            kinds.append(Kind(name, data, frozenset(statuses), bool(closes)))
    return kinds


def _http(body: bytes, content_type: str = "application/json", *, path: str = "/invocations", more: str = "") -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    )
    return head.encode("latin-1") + body


def _json(document: Any) -> bytes:
    return json.dumps(document).encode()


def _observation(dice: random.Random) -> list[float]:
    return [dice.gauss(0, 1) for _ in range(OBSERVATION_SIZE)]


def _npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, allow_pickle=True)
    return file.getvalue()


OK, BAD = (200,), (400,)


def _make_good_single(dice: random.Random) -> Any:
    return _http(_json({"observation": _observation(dice)})), OK


def _make_good_batch(dice: random.Random) -> Any:
    return _http(_json({"observations": [_observation(dice) for _ in range(dice.randrange(1, 64))]})), OK


def _make_good_drawn(dice: random.Random) -> Any:
    document = {"observation": _observation(dice), "deterministic": False, "seed": dice.randrange(2**40)}
    return _http(_json(document)), OK


def _make_good_messagepack(dice: random.Random) -> Any:
    return _http(ormsgpack.packb({"observation": _observation(dice)}), "application/msgpack"), OK


def _make_good_array(dice: random.Random) -> Any:
    count = dice.randrange(1, 64)
    return _http(_npy(np.array([_observation(dice) for _ in range(count)], "f4")), "application/x-npy"), OK


def _make_good_ping(dice: random.Random) -> Any:
    return (
        f"GET {dice.choice(['/ping', '/models', '/ping?x=1', 'http://x/ping'])} HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
        OK,
    )


def _make_good_chunks(dice: random.Random) -> Any:
    body, pieces = _json({"observation": _observation(dice)}), []
    while body:
        size = dice.randrange(1, 40)
        pieces.append(b"%x\r\n%b\r\n" % (len(body[:size]), body[:size]))
        body = body[size:]
    head = b"POST /invocations HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(pieces) + b"0\r\n\r\n", OK


def _make_wrong_shape(dice: random.Random) -> Any:
    wrong: Any = dice.choice(
        [
            [0.0] * dice.choice([0, 1, OBSERVATION_SIZE - 1, OBSERVATION_SIZE + 1, 1000]),
            [[0.0] * OBSERVATION_SIZE],
            0.0,
            {"0": 0.0},
            None,
            "[0, 0, 0, 0]",
            [[]] * OBSERVATION_SIZE,
        ]
    )
    return _http(_json({"observation": wrong} if dice.random() < 0.5 else {"observations": [wrong, wrong]})), BAD


def _make_wrong_number(dice: random.Random) -> Any:
    values = _observation(dice)
    wrong = dice.choice(
        ["NaN", "Infinity", "-Infinity", "1e999", "1e39", "-1e300", "null", "true", '"1"', "9" * 400, "0x1"]
    )
    text = ", ".join([*map(repr, values[:-1]), wrong])
    return _http(f'{{"observation": [{text}]}}'.encode()), BAD


def _make_wrong_number_in_messagepack(dice: random.Random) -> Any:
    values: list[Any] = _observation(dice)
    wrong = [float("nan"), float("inf"), -float("inf"), 1e39, None, True, b"1", 2**63]
    values[dice.randrange(OBSERVATION_SIZE)] = dice.choice(wrong)
    statuses = (200, 400) if 2**63 in values else BAD  # that one is a number of the size that a float32 has
    return _http(ormsgpack.packb({"observation": values}), "application/msgpack"), statuses


def _make_wrong_array(dice: random.Random) -> Any:
    array = np.zeros((dice.randrange(1, 5), OBSERVATION_SIZE))
    array[0, 0] = dice.choice([float("nan"), float("inf"), 1e300])
    data = _npy(
        dice.choice([array, np.zeros(3), np.zeros((2, 2, OBSERVATION_SIZE)), np.array([None]), np.zeros((0, 4))])
    )
    cut = dice.randrange(len(data)) if dice.random() < 0.3 else None
    return _http(data[:cut], "application/x-npy"), BAD


def _make_wrong_truncated(dice: random.Random) -> Any:
    body = _json({"observation": _observation(dice)})
    return _http(body[: dice.randrange(len(body))]), BAD


def _make_wrong_bytes(dice: random.Random) -> Any:
    body = dice.randbytes(dice.randrange(300))
    content_type = dice.choice(["application/json", "application/msgpack", "application/x-npy"])
    return _http(body, content_type), BAD


def _make_wrong_mutated(dice: random.Random) -> Any:
    body = bytearray(_json({"observation": _observation(dice)}))
    for _ in range(dice.randrange(1, 4)):
        body[dice.randrange(len(body))] = dice.randrange(256)
    return _http(bytes(body)), (200, 400)  # a digit may have become another


def _make_wrong_depth(dice: random.Random) -> Any:
    depth = dice.choice([10, 1000, 50_000])
    bodies = [b"[" * depth, b'{"observation": ' + b"[" * depth + b"]" * depth + b"}"]
    if dice.random() < 0.3:
        return _http(b"\x91" * depth, "application/msgpack"), BAD
    return _http(dice.choice(bodies)), BAD


def _make_wrong_batch(dice: random.Random) -> Any:
    return _http(_json({"observations": dice.choice([[], [_observation(dice)] * 1025, {}, None, 5])})), BAD


def _make_wrong_keys(dice: random.Random) -> Any:
    documents = [{}, {"instances": []}, {"observation": [0.0] * OBSERVATION_SIZE, "x": 1}, [], 5, None, "", {"": 0}]
    return _http(_json(dice.choice(documents))), BAD


def _make_wrong_path(dice: random.Random) -> Any:
    path = dice.choice(
        ["/", "/invocation", "/invocations/", "/models/x/invoke", "/models/%00/invoke", "/../etc/passwd", "/%2e"]
    )
    return _http(b"{}", path=path), (404,)


def _make_wrong_method(dice: random.Random) -> Any:
    method = dice.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS"])
    return f"{method} /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n".encode(), (405,)


def _make_wrong_content_type(dice: random.Random) -> Any:
    return _http(b"0,0,0,0", dice.choice(["text/csv", "", "application/x-pickle", "application/json5"])), (415,)


def _make_wrong_accept(dice: random.Random) -> Any:
    more = f"Accept: {dice.choice(['text/html', 'image/*', ',', 'application/json;q=0'])}\r\n"
    return _http(_json({"observation": [0.0] * OBSERVATION_SIZE}), more=more), (406,)


def _make_closing_large(dice: random.Random) -> Any:
    length = dice.choice([6 * 2**20 + 1, 2**40, 2**62])
    return f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode(), (413,), True


def _make_closing_no_http(dice: random.Random) -> Any:
    return dice.choice([b"\x16\x03\x01\x02\x00", b"nonsense\r\n\r\n", b"GET /ping\r\n\r\n", b"\xff" * 50]), BAD, True


def _make_closing_smuggling(dice: random.Random) -> Any:
    good = _http(_json({"observation": [0.0] * OBSERVATION_SIZE}))
    wrong = [b"Transfer-Encoding: chunked", b"Content-Length: 3", b"Host: y", b"Host : y", b" folded", b"A: \x00"]
    return good.replace(b"Host: x", b"Host: x\r\n" + dice.choice(wrong)), BAD, True


def _make_closing_head(dice: random.Random) -> Any:
    many = b"".join(b"A%d: %b\r\n" % (number, b"b" * dice.randrange(300)) for number in range(101))
    long = b"GET /" + b"a" * 4000 + b" HTTP/1.1\r\nHost: x\r\n\r\n"
    return dice.choice([b"GET /ping HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n", long]), (414, 431), True


def _make_closing_politely(dice: random.Random) -> Any:
    return _http(_json({"observation": _observation(dice)}), more="Connection: close\r\n"), OK, True
