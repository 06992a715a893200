"""Local processes that stand for containers: a process group each, output as log events, SIGTERM before SIGKILL."""

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

_LINE_LIMIT = 250_000
"""Bytes; CloudWatch Logs takes events of up to 256 KiB."""


class GroupRegister(Protocol):
    """Whoever must know the process groups that run, to end them should this process die."""

    def add(self, group: int) -> None:
        """A process group started."""

    def remove(self, group: int) -> None:
        """A process group ended."""


def signal_group(group: int, number: int) -> None:
    """Signal every process of a group; nothing happens when it is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


class LogShipper:
    """Carries lines to their log streams in batches, in the order in which they were written."""

    def __init__(self, put: Callable[[str, str, list[tuple[int, str]]], None], every_seconds: float = 0.1) -> None:
        self._put = put
        self._every = every_seconds
        self._waiting: dict[tuple[str, str], list[tuple[int, str]]] = {}
        self._lock = threading.Lock()
        self._shipping = threading.Lock()
        self._filled = threading.Event()
        threading.Thread(target=self._run, name="log-shipper", daemon=True).start()

    def write(self, group: str, stream: str, message: str) -> None:
        """Queue one log event, stamped now."""
        with self._lock:
            self._waiting.setdefault((group, stream), []).append((int(time.time() * 1000), message))
        self._filled.set()

    def flush(self) -> None:
        """Ship everything written so far before returning."""
        with self._shipping:
            with self._lock:
                waiting, self._waiting = self._waiting, {}
            for (group, stream), events in waiting.items():
                self._put(group, stream, events)

    def _run(self) -> None:
        while True:
            self._filled.wait()
            time.sleep(self._every)
            self._filled.clear()
            self.flush()


class LocalProcess:
    """One running container: a process group of its own whose output goes line by line to `on_line`."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str] | None,
        on_line: Callable[[str], None],
        groups: GroupRegister,
        started: "subprocess.Popen[bytes] | None" = None,
    ) -> None:
        """Start the process; without `environment` in this one's. Raises OSError when it cannot be started.

        One that was `started` already, with its output in a pipe and leading its group, runs the command by itself.
        """
        self.reason = ""
        """What ended it, once `wait` has returned, where that is known."""
        self._groups = groups
        self._on_line = on_line
        self._process = started or subprocess.Popen(
            list(argv),
            cwd=cwd,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        groups.add(self.pid)
        self._reader = threading.Thread(target=self._read, name=f"output-{self.pid}", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._process.pid

    def listens(self, port: int) -> bool:
        """Whether it is this process, or a child of it, that listens on the port."""
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(self.pid)
            for member in [root, *root.children(recursive=True)]:
                for connection in member.net_connections("tcp"):
                    if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                        return True
        return False

    def poll(self) -> int | None:
        """The exit code if the process has ended."""
        return self._process.poll()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, take the rest of the group with it as a container would, and return the exit code.

        A process that died of a signal has 128 + the signal's number, as in a container.
        Raises subprocess.TimeoutExpired after `timeout` seconds.
        """
        code = self._process.wait(timeout)
        self.signal(signal.SIGKILL)
        self._reader.join(timeout=5)
        self._groups.remove(self.pid)
        return 128 - code if code < 0 else code

    def signal(self, number: int) -> None:
        """Signal every process of the group; nothing happens when it is gone."""
        signal_group(self.pid, number)

    def stop(self, grace_seconds: float) -> None:
        """SIGTERM now, SIGKILL after the grace period unless the process has ended; returns at once."""
        self.signal(signal.SIGTERM)

        def kill() -> None:
            try:
                self._process.wait(grace_seconds)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)

        threading.Thread(target=kill, name=f"kill-{self.pid}", daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            while line := output.readline(_LINE_LIMIT):
                self._on_line(line.decode("utf-8", "replace").rstrip("\r\n"))
