import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.unit.serving_image.models import OBSERVATION_SPACES, VALID, write_model

ROOT = Path(__file__).parents[3]
JSON = {"Content-Type": "application/json"}


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, str]:
        """The refusal; its form is part of the contract."""
        error: dict[str, str] = self.document["error"]
        assert sorted(error) == ["expected", "field", "given"]
        assert all(isinstance(text, str) and text for text in error.values())
        return error


@dataclass
class Server:
    """A serving container's process and where it listens."""

    process: subprocess.Popen[str]
    port: int

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())

    def invoke(self, document: Any, *, path: str = "/invocations") -> Reply:
        return self.request("POST", path, json.dumps(document).encode(), JSON)

    def invoke_raw(self, body: bytes) -> Reply:
        return self.request("POST", "/invocations", body, JSON)


def start_process(folder: Path, **environment: str) -> subprocess.Popen[str]:
    """The container's own command, on any free port of this machine."""
    settings = {"SM_MODEL_DIR": str(folder), "SAGEMAKER_BIND_TO_PORT": "0", "RLPIPE_BIND_HOST": "127.0.0.1"}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "serving_image.server", "serve"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **settings, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextlib.contextmanager
def running(folder: Path, **environment: str) -> Iterator[Server]:
    """A server that is ready; the test fails when it has logged a fault of its own."""
    process = start_process(folder, **environment)
    lines: list[str] = []
    try:
        assert process.stdout is not None
        found = None
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"Serving on 127\.0\.0\.1:(\d+)", line):
                break
        assert found, f"the server did not start: {''.join(lines)}"
        yield Server(process, int(found[1]))
    finally:
        process.kill()
        lines += process.communicate()[0]
    assert "Traceback" not in "".join(lines)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A policy of CartPole's spaces."""
    with running(write_model(tmp_path_factory.mktemp("model"))) as started:
        yield started


@pytest.fixture(scope="session", params=sorted(set(OBSERVATION_SPACES) - {"box"}))
def other_space(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, Server]]:
    """A server for each of the other observation spaces, by name."""
    name: str = request.param
    folder = write_model(
        tmp_path_factory.mktemp(name), observation_space=OBSERVATION_SPACES[name], observations=VALID[name]
    )
    with running(folder) as started:
        yield name, started
