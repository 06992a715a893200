"""The container's log: one JSON document a line on stdout, for people and CloudWatch Logs Insights.

Observations are never in it, nor what else a caller said: of a refused request only its status and the field.
"""

import sys
import time
import traceback
from typing import Any

import orjson

MOST_REFUSALS = 10
"""Lines about refused requests in a second; how many more there were, the metrics say."""

_refusals = [0, 0]


def info(message: str, **fields: Any) -> None:
    """Something that whoever reads the log wants to know."""
    _write("INFO", message, fields)


def error(message: str, **fields: Any) -> None:
    """Something that does not work."""
    _write("ERROR", message, fields)


def fault(message: str) -> None:
    """The exception that is being handled, as an error: where it happened, and of which kind, but not its text, which
    may repeat what a caller sent."""
    kind, _, trace = sys.exc_info()
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(trace)]
    _write("ERROR", message, {"exception": kind.__name__ if kind else None, "traceback": frames})


def refused(status: int, field: str) -> None:
    """A request was refused."""
    second = int(time.monotonic())
    if _refusals[0] != second:
        _refusals[:] = [second, 0]
    _refusals[1] += 1
    if _refusals[1] <= MOST_REFUSALS:
        _write("INFO", "A request was refused.", {"status": status, "field": field})


def line(document: dict[str, Any]) -> None:
    """A document as it is."""
    sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE))
    sys.stdout.buffer.flush()


def _write(level: str, message: str, fields: dict[str, Any]) -> None:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    line({"time": stamp, "level": level, "message": message, **fields})
