"""Containers in place of local processes, run by a container engine from the very images that `cdk deploy` built.

`docker run` stays in the foreground for as long as its container lives: it prints the container's output, hands SIGTERM
on and ends with its exit code. So it is driven like any local process; only SIGKILL has to go to the engine.
"""

import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from embedded_aws.processes.process import GroupRegister, LocalProcess

LABEL = "rlpipe.embedded-aws"
"""Every container of an instance carries the instance's id in this label."""

_REMOVAL_SECONDS = 10.0
_OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
"""https://docs.aws.amazon.com/batch/latest/userguide/troubleshooting.html"""


class Engine:
    """A container engine, through its client."""

    def __init__(self, client: str, marker: str) -> None:
        """`client` is a `docker`, `marker` the id of the instance."""
        self.client = client
        self._marker = marker

    def has(self, image: str) -> bool:
        """Whether the engine has an image of this name."""
        return self._call("image", "inspect", image).returncode == 0

    def has_tag(self, tag: str) -> bool:
        """Whether the engine has an image of any ECR repository with this tag."""
        return bool(self._call("image", "ls", "--quiet", "--filter", f"reference=*/*:{tag}").stdout.strip())

    @cached_property
    def has_gpus(self) -> bool:
        """Whether the engine can give GPUs to containers."""
        return "nvidia" in self._call("info", "--format", "{{json .Runtimes}}").stdout

    def run(
        self,
        image: str,
        command: Sequence[str],
        *,
        options: Sequence[str],
        environment: Mapping[str, str],
        on_line: Callable[[str], None],
        groups: GroupRegister,
    ) -> "ContainerProcess":
        """Start a container. Raises OSError when the client cannot be started."""
        name = f"rlpipe-{uuid.uuid4().hex}"
        argv = [self.client, "run", "--name", name, "--label", f"{LABEL}={self._marker}", "--pull", "never"]
        # The emulator listens on loopback, which only the host's network has.
        argv += ["--network", "host", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", *options]
        argv += [word for key, value in environment.items() for word in ("--env", f"{key}={value}")]
        return ContainerProcess([*argv, image, *command], name=name, client=self.client, on_line=on_line, groups=groups)

    def _call(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([self.client, *arguments], capture_output=True, text=True, check=False)


class ContainerProcess(LocalProcess):
    """A running container."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        name: str,
        client: str,
        on_line: Callable[[str], None],
        groups: GroupRegister,
    ) -> None:
        self._name = name
        self._client = client
        super().__init__(argv, cwd=Path("/"), environment=None, on_line=on_line, groups=groups)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end, remove the container and return its exit code.

        Raises subprocess.TimeoutExpired after `timeout` seconds.
        """
        self._process.wait(timeout)
        inspected = [self._client, "inspect", "--format", "{{.State.OOMKilled}}", self._name]
        if subprocess.run(inspected, capture_output=True, text=True, check=False).stdout.strip() == "true":
            self.reason = _OUT_OF_MEMORY
        return super().wait()

    def signal(self, number: int) -> None:
        """Signal the container; nothing happens when it is gone."""
        if number == signal.SIGKILL:
            subprocess.run([self._client, "rm", "--force", "--volumes", self._name], capture_output=True, check=False)
        super().signal(number)

    def listens(self, port: int) -> bool:
        """Whether it runs: what listens there is a process of the engine's, not of this one's."""
        return self.poll() is None


def job_options(container: Mapping[str, Any], *, has_gpus: bool) -> list[str]:
    """Options of `docker run` for a job's container: limits as ECS sets them.

    A job for a GPU runs without one where the engine has none.
    Memory is a hard limit; vCPUs are a share, which counts only while others want the same processors.
    https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task_definition_parameters.html#container_definition_environment
    """
    needs = {entry["type"]: entry["value"] for entry in container["resourceRequirements"]}
    memory, shares = f"{needs['MEMORY']}m", round(float(needs["VCPU"]) * 1024)
    # As much swap as memory is none at all.
    options = ["--memory", memory, "--memory-swap", memory, "--cpu-shares", str(shares)]
    if "GPU" in needs and has_gpus:
        options += ["--gpus", needs["GPU"]]
    linux = container.get("linuxParameters") or {}
    if linux.get("initProcessEnabled"):
        options.append("--init")
    for tmpfs in linux.get("tmpfs", []):
        mounted = ",".join([f"size={tmpfs['size']}m", *tmpfs.get("mountOptions", [])])
        options += ["--tmpfs", f"{tmpfs['containerPath']}:{mounted}"]
    hosts = {one["name"] for one in container.get("volumes", []) if (one.get("host") or {}).get("sourcePath")}
    for mount in container.get("mountPoints", []):
        if mount["sourceVolume"] not in hosts:  # the container's own, and gone with it
            options += ["--volume", mount["containerPath"]]
    if container.get("readonlyRootFilesystem"):
        options.append("--read-only")
    if container.get("user"):
        options += ["--user", container["user"]]
    return options


def remove_all(client: str, marker: str) -> None:
    """Remove every container of an instance; returns when none is left, or when the engine does not answer."""
    listed = [client, "ps", "--all", "--quiet", "--filter", f"label={LABEL}={marker}"]
    deadline = time.monotonic() + _REMOVAL_SECONDS
    while time.monotonic() < deadline:
        found = subprocess.run(listed, capture_output=True, text=True, check=False).stdout.split()
        if not found:
            return
        subprocess.run([client, "rm", "--force", "--volumes", *found], capture_output=True, check=False)
