"""Ends every process of an instance that died.

The instance starts this process first and holds the other end of its standard input, over which it also says which
process groups run. Whatever ends the instance, kill -9 included, closes that pipe. Then the groups are killed, and
every process that carries the instance's marker in its environment, until none is left, and then its containers.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import psutil

from embedded_aws.processes.containers import remove_all
from embedded_aws.settings import MARKER_VARIABLE

_SEEN_NONE_TIMES = 3
"""A process that is being started shows its environment a moment later, so one clean look is not enough."""


class Warden:
    """The instance's side: starts the warden process and tells it of process groups."""

    def __init__(self, marker: str, engine_client: str | None = None) -> None:
        """`engine_client` is the `docker` of an instance that runs containers."""
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "embedded_aws.warden", marker, *([engine_client] if engine_client else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )

    def add(self, group: int) -> None:
        """A process group started."""
        self._tell(f"+{group}")

    def remove(self, group: int) -> None:
        """A process group ended."""
        self._tell(f"-{group}")

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._lock, contextlib.suppress(OSError):
            self._process.stdin.write(f"{line}\n".encode())
            self._process.stdin.flush()


def carriers(marker: str) -> list[psutil.Process]:
    """The processes of an instance: all that inherited its marker, but not this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid != os.getpid() and process.environ().get(MARKER_VARIABLE) == marker:
                found.append(process)
    return found


def sweep(marker: str, groups: set[int], spared: frozenset[int] = frozenset()) -> None:
    """Kill the process groups and every process with the marker, and return when none is left."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
    clean = 0
    while clean < _SEEN_NONE_TIMES:
        alive = [p for p in carriers(marker) if p.pid not in spared and p.status() != psutil.STATUS_ZOMBIE]
        clean = 0 if alive else clean + 1
        for process in alive:
            with contextlib.suppress(psutil.Error):
                process.kill()
        time.sleep(0.03)


def main() -> None:
    """Wait for the end of the instance, then sweep up after it."""
    marker, *engine_clients = sys.argv[1:]
    groups: set[int] = set()
    # Nobody but the end of the instance may end its warden.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for line in sys.stdin:
        group = int(line[1:])
        if line[0] == "+":
            groups.add(group)
        else:
            groups.discard(group)
    sweep(marker, groups)
    # Last: a client of the engine that still lived could start another.
    for client in engine_clients:
        remove_all(client, marker)


if __name__ == "__main__":
    main()
