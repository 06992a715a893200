"""The serving container of an endpoint as a local process, and requests to it.

What a container gets and must answer:
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
"""

import contextlib
import http.client
import io
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

from contract.archives import extract
from embedded_aws.access import permissions, resources
from embedded_aws.clients import s3
from embedded_aws.processes.images import resolve
from embedded_aws.processes.process import GroupRegister, LocalProcess, LogShipper
from embedded_aws.settings import NO_CREDENTIALS, Settings

_INVOCATION_SECONDS = 60.0
_PORT_ATTEMPTS = 5
_RESTART_PAUSE_SECONDS = 1.0


class ServingError(Exception):
    """A serving container did not come up; the text is an endpoint's FailureReason."""


@dataclass(frozen=True)
class Answer:
    """What a container said to an invocation."""

    status: int
    content_type: str
    body: bytes
    custom_attributes: str = ""


class Server:
    """A serving process with its own folder, port and pool of connections; restarted when it dies."""

    def __init__(
        self,
        settings: Settings,
        groups: GroupRegister,
        logs: LogShipper,
        *,
        model: dict[str, Any],
        variant: dict[str, Any],
        log_group: str,
    ) -> None:
        self._settings = settings
        self._groups = groups
        self._logs = logs
        self._container = (model.get("Containers") or [model.get("PrimaryContainer")])[0]
        self._role: str = model["ExecutionRoleArn"]
        self._isolated = bool(model.get("EnableNetworkIsolation"))
        self._variant = variant
        self._log_group = log_group
        self.log_stream = f"{variant['VariantName']}/i-{uuid.uuid4().hex[:17]}"
        self._folder = settings.state_dir / "models" / uuid.uuid4().hex
        self._idle: list[http.client.HTTPConnection] = []
        self._process: LocalProcess | None = None
        self._port = 0
        self._stopping = threading.Event()

    def start(self, create_log_stream: Callable[[str, str], None]) -> None:
        """Unpack the model, start the process and wait until it answers /ping. Raises ServingError when it does not."""
        try:
            self._prepare(create_log_stream)
            self._launch()
        except ServingError:
            self.stop()
            raise
        except Exception as error:
            self.stop()
            raise ServingError(f"{type(error).__name__}: {error}") from error
        threading.Thread(target=self._keep_alive, name=f"serving-{self._port}", daemon=True).start()

    def _prepare(self, create_log_stream: Callable[[str, str], None]) -> None:
        """All that is done for a container before it starts, in the name of its role."""
        permissions.check_pull(self._role, self._container["Image"])
        for action in ("logs:CreateLogGroup", "logs:DescribeLogStreams"):
            permissions.check(self._role, action, resources.logs({"logGroupName": self._log_group}))
        permissions.check_log(self._role, self._log_group, self.log_stream)
        create_log_stream(self._log_group, self.log_stream)
        _unpack_model(self._settings.endpoint_url, self._role, self._container.get("ModelDataUrl"), self._folder)

    @property
    def port(self) -> int:
        """Where it listens on this machine."""
        return self._port

    def stop(self) -> None:
        """Stop the process and remove its model folder; returns at once."""
        self._stopping.set()
        process = self._process
        if process:
            process.stop(grace_seconds=5)
        for connection in self._idle:
            connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def invoke(self, body: bytes, headers: dict[str, str]) -> Answer:
        """POST /invocations. Raises OSError when the container cannot be reached, TimeoutError after 60 s."""
        reused = bool(self._idle)
        try:
            return self._request(body, headers)
        except (ConnectionError, http.client.HTTPException) as error:
            if not reused:
                raise ConnectionError(str(error)) from error
        self._idle.clear()  # The server had closed the idle connections; a fresh one tells.
        try:
            return self._request(body, headers)
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error

    def _request(self, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_INVOCATION_SECONDS)
            connection.connect()
            assert connection.sock is not None
            connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            connection.request("POST", "/invocations", body=body, headers=headers)
            response = connection.getresponse()
            answer = Answer(
                response.status,
                response.getheader("Content-Type", "application/octet-stream"),
                response.read(),
                response.getheader("X-Amzn-SageMaker-Custom-Attributes", ""),
            )
        except BaseException:
            connection.close()
            raise
        if not response.will_close:
            self._idle.append(connection)
        return answer

    def _launch(self) -> None:
        start = self._start_container if self._settings.engine else self._start_process
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._port = _free_port()
            self._process = start()
            try:
                self._wait_until_healthy(self._process)
                return
            except ServingError:
                # Between choosing a port and the server binding it somebody else may have taken it.
                if (
                    self._stopping.is_set()
                    or attempt == _PORT_ATTEMPTS
                    or not _taken_by_other(self._port, self._process)
                ):
                    raise

    def _start_process(self) -> LocalProcess:
        image = resolve(self._container["Image"], self._settings.assemblies)
        environment = {**os.environ, **image.environment, **self._environment(), "SM_MODEL_DIR": str(self._folder)}
        return LocalProcess(
            image.argv(["serve"]),
            cwd=image.directory,
            environment=environment,
            on_line=self._log,
            groups=self._groups,
        )

    def _start_container(self) -> LocalProcess:
        assert self._settings.engine
        return self._settings.engine.run(
            self._container["Image"],
            ["serve"],
            options=["--volume", f"{self._folder}:/opt/ml/model:ro"],
            environment=self._environment(),
            on_line=self._log,
            groups=self._groups,
        )

    def _environment(self) -> dict[str, str]:
        return {
            **self._settings.client_environment(),
            **(NO_CREDENTIALS if self._isolated else permissions.credentials(self._role, "SageMaker")),
            **(self._container.get("Environment") or {}),
            "SAGEMAKER_BIND_TO_PORT": str(self._port),
            "RLPIPE_BIND_HOST": "127.0.0.1",
        }

    def _log(self, line: str) -> None:
        self._logs.write(self._log_group, self.log_stream, line)

    def _wait_until_healthy(self, process: LocalProcess) -> None:
        seconds = float(
            self._variant.get("ContainerStartupHealthCheckTimeoutInSeconds") or self._settings.startup_seconds
        )
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._stopping.is_set():
            if process.poll() is not None:
                process.wait()
                break
            if _ping(self._port) and process.listens(self._port):
                return
            time.sleep(0.02)
        else:
            process.stop(grace_seconds=1)
            process.wait()
        raise ServingError(
            f"The primary container for production variant {self._variant['VariantName']} did not pass the ping health "
            "check. Please check CloudWatch logs for this endpoint."
        )

    def _keep_alive(self) -> None:
        while not self._stopping.is_set():
            assert self._process is not None
            self._process.wait()
            if self._stopping.wait(_RESTART_PAUSE_SECONDS):
                return
            with contextlib.suppress(Exception):
                self._launch()


def _unpack_model(endpoint_url: str, role: str, url: str | None, folder: Path) -> None:
    """Extract model.tar.gz as SageMaker does to /opt/ml/model; a model without data gets an empty folder."""
    folder.mkdir(parents=True)
    if not url:
        return
    place = urlparse(url)
    archive = io.BytesIO()
    s3(endpoint_url, role).download_fileobj(place.netloc, place.path.lstrip("/"), archive)
    archive.seek(0)
    extract(archive, folder)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _ping(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _taken_by_other(port: int, process: LocalProcess) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0 and not process.listens(port)
