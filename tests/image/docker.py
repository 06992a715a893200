"""The engine that `make test-images` has started, through its own client."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEALED = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=256", "--memory=2g")
"""How every container runs: nothing to write on but what is mounted, and no privilege."""

NO_NETWORK = "--network=none"
HOST_NETWORK = "--network=host"


def docker(*arguments: str, check: bool = True, stdin: str | None = None) -> "subprocess.CompletedProcess[str]":
    """Run the client.

    Raises:
        AssertionError: it failed and `check` is true; with its last words.
    """
    command = [os.environ["IMAGE_ENGINE_CLIENT"], *arguments]
    done = subprocess.run(command, capture_output=True, text=True, input=stdin, timeout=1200, check=False)
    if check and done.returncode:
        raise AssertionError(f"docker {' '.join(arguments)}: {(done.stderr or done.stdout)[-3000:]}")
    return done


def inspect(name: str) -> dict[str, Any]:
    """What the engine knows of an image or a container."""
    [found] = json.loads(docker("inspect", name).stdout)
    return dict(found)


def run(image: str, *command: str, options: tuple[str, ...]) -> "subprocess.CompletedProcess[str]":
    """Run a sealed container to its end, whatever that is."""
    return docker("run", "--rm", *SEALED, *options, image, *command, check=False)


@dataclass(frozen=True)
class Container:
    """A sealed container that is running."""

    identifier: str

    @classmethod
    def start(cls, image: str, *command: str, options: tuple[str, ...]) -> "Container":
        return cls(docker("run", "--detach", *SEALED, *options, image, *command).stdout.strip())

    def python(self, code: str, stdin: str = "") -> str:
        """Run Python code inside; answers what it printed."""
        return docker("exec", "--interactive", self.identifier, "python", "-c", code, stdin=stdin).stdout

    def state(self) -> dict[str, Any]:
        return dict(inspect(self.identifier)["State"])

    def log(self) -> str:
        """Everything it has printed."""
        done = docker("logs", self.identifier)
        return done.stdout + done.stderr

    def follow(self) -> Iterator[str]:
        """Its lines, as they come, until it ends."""
        command = [os.environ["IMAGE_ENGINE_CLIENT"], "logs", "--follow", self.identifier]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            try:
                yield from reader.stdout
            finally:
                reader.terminate()

    def stop(self, *, grace: int = 30) -> tuple[int, float]:
        """SIGTERM, and SIGKILL after `grace` seconds; answers the exit code and the seconds it took."""
        started = time.monotonic()
        docker("stop", "--time", str(grace), self.identifier)
        return int(self.state()["ExitCode"]), time.monotonic() - started

    def remove(self) -> None:
        docker("rm", "--force", "--volumes", self.identifier)


def mounted(folder: Path, at: str, *, writable: bool = False) -> tuple[str, ...]:
    """Options that mount a folder of this machine so that the containers' user may use it."""
    folder.chmod(0o777 if writable else 0o755)
    return "--volume", f"{folder}:{at}:{'rw' if writable else 'ro'}"


def until(condition: Callable[[], object], *, what: str, seconds: float = 60) -> None:
    """Ask until the answer is true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.1)
