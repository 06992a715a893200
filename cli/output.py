"""Where words go: results to stdout, everything else to stderr, and one JSON document when that is asked for."""

import json
import sys
from datetime import UTC, datetime
from typing import Any

from rich.console import Console

from cli.errors import CliError

stdout = Console(highlight=False, soft_wrap=True)
stderr = Console(highlight=False, soft_wrap=True, stderr=True)


def document(value: Any) -> None:
    """Print the one JSON document of a command."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


def failure(error: CliError, *, as_json: bool) -> None:
    """Say what went wrong and what to do next."""
    if as_json:
        document({"error": {"message": error.message, "next_step": error.next_step}})
    stderr.print("Error:", style="bold red", end=" ")
    stderr.print(f"{error.message}.", markup=False)
    stderr.print(f"Next: {error.next_step}", markup=False)


def duration(seconds: float) -> str:
    """Seconds for people: `4.2 s`, `3 m 05 s`, `2 h 07 m`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} m"


def moment(when: datetime) -> str:
    """A point in time in this machine's zone."""
    return when.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    raise TypeError(f"{type(value).__name__} has no place in a document")
