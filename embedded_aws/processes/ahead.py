"""Processes that are started ahead of their jobs and functions, as instances that are warm have an image already.

The label `rlpipe.ahead` of an image says what is worth importing ahead, and for which of its scripts:

    LABEL rlpipe.ahead="train.py:torch,package.training score.py:package.scoring"

One process waits for the newest image that has it; a job that comes while none waits is started as any other.
"""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from embedded_aws.processes.images import LocalImage
from embedded_aws.processes.process import GroupRegister, signal_group

_BECOME = Path(__file__).with_name("become.py")
_OF_A_FUNCTION: dict[str, Any] = {
    "stdin": subprocess.PIPE,
    "stdout": subprocess.PIPE,
    "stderr": subprocess.PIPE,
    "text": True,
    "bufsize": 1,
}
"""How ministack starts the process of a function."""

_ROOM = "." * 400
"""For the command line of a job, to be shown in place of this one."""


class Ahead:
    """The process that waits."""

    def __init__(self, groups: GroupRegister) -> None:
        self._groups = groups
        self._lock = threading.Lock()
        self._image: LocalImage | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self, image: LocalImage) -> None:
        """Have a process wait for the next job of an image, if the image asks for it. Another one's is ended."""
        modules = list(dict.fromkeys(name for names in image.ahead.values() for name in names))
        with self._lock:
            if not modules or (self._image == image and self._process and self._process.poll() is None):
                return
            self._end()
            with contextlib.suppress(OSError):  # a job needs none
                self._process = subprocess.Popen(
                    [sys.executable, str(_BECOME), _ROOM, *modules],
                    cwd=image.directory,
                    env={**os.environ, **image.environment},
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
                self._image = image
                self._groups.add(self._process.pid)
                threading.Thread(target=self._see_it_end, args=(self._process,), name="ahead", daemon=True).start()

    def take(
        self, image: LocalImage, argv: Sequence[str], environment: Mapping[str, str]
    ) -> "subprocess.Popen[bytes] | None":
        """The process that has waited, now running a command of its image; None when none has, or not for this one.

        It is in its group already, its output is unread, and whoever takes it cares for both.
        """
        interpreter, script, *_ = *argv, "", ""
        with self._lock:
            process = self._process
            fits = self._image == image and interpreter == sys.executable and Path(script).name in image.ahead
            if process is None or not fits:
                return None
            self._process = None
        assert process.stdin is not None
        order = {"command": list(argv[1:]), "environment": dict(environment)}
        try:
            with process.stdin as stdin:
                stdin.write(json.dumps(order).encode() + b"\n")
        except OSError:  # it has died
            return None
        return process

    def _end(self) -> None:
        if self._process is not None:
            signal_group(self._process.pid, signal.SIGKILL)
            self._process = None

    def _see_it_end(self, process: "subprocess.Popen[bytes]") -> None:
        process.wait()
        self._groups.remove(process.pid)


class FunctionsAhead:
    """Processes that have imported what each function does first, and wait for functions to be deployed."""

    MODULES = ("boto3", "pydantic", "yaml")
    """The first is of Lambda's runtime, the others of most functions here."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._waiting: queue.Queue[subprocess.Popen[str]] = queue.Queue()

    def start(self) -> None:
        """Start them, one after the other: whatever is synthesised meanwhile needs a processor too."""
        threading.Thread(target=self._start, name="functions-ahead", daemon=True).start()

    def popen(self, argv: Sequence[str], *, cwd: str, env: Mapping[str, str], **options: Any) -> Any:
        """`subprocess.Popen` of the process of a function, which is one that has waited if there is one."""
        interpreter, *command = argv
        while interpreter == sys.executable and options == _OF_A_FUNCTION:
            try:
                process = self._waiting.get_nowait()
                assert process.stdin is not None
                process.stdin.write(json.dumps({"command": command, "environment": dict(env), "folder": cwd}) + "\n")
                process.stdin.flush()
            except queue.Empty:
                break
            except OSError:  # it has died
                continue
            return process
        return subprocess.Popen(argv, cwd=cwd, env=env, **options)

    def _start(self) -> None:
        for _ in range(self._number):
            with contextlib.suppress(OSError):  # a function needs none
                command = [sys.executable, str(_BECOME), _ROOM, "--say-so", *self.MODULES]
                process = subprocess.Popen(command, **_OF_A_FUNCTION)
                assert process.stdout is not None
                if process.stdout.readline():
                    self._waiting.put(process)
