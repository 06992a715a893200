"""The embedded AWS as an account: an instance of its own, with short delays, and two images in its assembly."""

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from tests.conformance import images
from tests.conformance.account import Account, unique, until

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Instance(Account):
    """`python -m embedded_aws`."""

    account_id = "000000000000"
    shortest_attempt = shortest_period = 1
    a_while = "0.4"
    shortest_stuck = 1
    until_stuck = until_measured = until_given_up = 20.0

    def __init__(self, state_dir: Path, *options: str) -> None:
        super().__init__()
        self.state_dir = state_dir
        self.options = options
        self.port = free_port()
        self.assembly = self.state_dir / "cdk.out"
        self.assembly.mkdir(parents=True, exist_ok=True)
        self.job_image = images.job_image(self.assembly)
        self._serving_image = images.serving_image(self.assembly)
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "embedded_aws"]
        delays = ["--kill-grace-seconds", "1", "--minimum-timeout-seconds", "1", "--startup-seconds", "3"]
        with (self.state_dir / "log").open("ab") as log:
            process = subprocess.Popen(
                [*command, "--port", str(self.port), "--state-dir", str(self.state_dir), *delays, *self.options],
                cwd=ROOT,
                stdout=log,
                stderr=log,
            )
        until(lambda: process.poll() is not None or self.is_healthy(), what="the instance answers", seconds=90)
        assert process.poll() is None, (self.state_dir / "log").read_text()
        return process

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    def clean_up(self) -> None:
        """Nothing of an instance outlives it."""
        self.stop()

    def is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/_ministack/health", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def marker(self) -> str:
        marker: str = json.loads((self.state_dir / "instance.json").read_text())["marker"]
        return marker

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return self._client(service, endpoint_url=self.url, **keys)

    def job_container(self, *command: str) -> dict[str, Any]:
        return {"image": self.job_image, "command": list(command)}

    @property
    def serving_image(self) -> str:
        return self._serving_image

    def api_url(self, api_id: str, stage: str) -> str:
        return f"{self.url}/_aws/execute-api/{api_id}/{stage}"

    def environment(self, **resources: Any) -> str:
        arn: str = self.batch.create_compute_environment(
            computeEnvironmentName=unique("environment"),
            type="MANAGED",
            computeResources={"type": "EC2", "maxvCpus": 64, "instanceTypes": ["c6i.large"], **resources},
        )["computeEnvironmentArn"]
        return arn


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
