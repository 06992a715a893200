"""Builds the images from the contexts that the CDK stages, from nothing that a registry must answer.

The packages are fetched by this machine's pip, checked against the lock files and served on loopback, so a build
needs no index, and takes the same files wherever it runs. The base is pulled, or a stand-in takes its place.
"""

import functools
import hashlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.image.docker import docker, inspect
from tools.lock_images import PLATFORMS, PYTHON_VERSION

ROOT = Path(__file__).parents[2]

STAND_IN = "rlpipe-stand-in-base:bookworm"
_MAKE_STAND_IN = ROOT / "tests" / "image" / "stand_in_base.sh"


@dataclass(frozen=True)
class Image:
    """A built image."""

    tag: str
    identifier: str
    seconds: float
    """The build took."""

    @property
    def megabytes(self) -> float:
        """Unpacked, all layers: 10^6 bytes."""
        return float(inspect(self.identifier)["Size"]) / 1e6

    @property
    def layers(self) -> list[str]:
        return list(inspect(self.identifier)["RootFS"]["Layers"])

    @property
    def config(self) -> dict[str, Any]:
        return dict(inspect(self.identifier)["Config"])


def base_image() -> str:
    """The Dockerfiles' base, or a stand-in for it when it cannot be pulled."""
    dockerfile = (ROOT / "training_image" / "Dockerfile").read_text(encoding="utf-8")
    name: str = re.findall(r"^ARG BASE_IMAGE=(.+)$", dockerfile, re.MULTILINE)[0]
    if docker("image", "inspect", name, check=False).returncode == 0:
        return name
    if docker("pull", "--quiet", "--platform", "linux/amd64", name, check=False).returncode == 0:
        return name
    if docker("image", "inspect", STAND_IN, check=False).returncode == 0:
        return STAND_IN
    version = hashlib.sha256(_MAKE_STAND_IN.read_bytes()).hexdigest()[:12]
    archive = ROOT / ".cache" / f"stand-in-base-{version}.tar"
    if not archive.exists():
        archive.parent.mkdir(exist_ok=True)
        subprocess.run([str(_MAKE_STAND_IN), str(archive)], check=True)
    docker("import", "--change", "ENV LANG=C.UTF-8", str(archive), STAND_IN)
    return STAND_IN


@contextmanager
def pip_configuration(folder: Path, *locks: Path) -> Iterator[Path]:
    """A configuration of pip that finds the packages of these lock files on loopback, and nothing else.

    `folder` is where they are kept; what is there already is not fetched again.
    """
    wheels = folder / "wheels"
    for lock in locks:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--only-binary=:all:", "--implementation", "cp"]
        command += ["--python-version", PYTHON_VERSION]
        command += [argument for platform in PLATFORMS for argument in ("--platform", platform)]
        command += ["--dest", str(wheels), "--requirement", str(lock)]
        subprocess.run(command, check=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(wheels))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        configuration = folder / "pip.conf"
        port = server.server_address[1]
        configuration.write_text(f"[global]\nno-index = true\nfind-links = http://127.0.0.1:{port}/\n")
        yield configuration
        server.shutdown()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def build(tag: str, context: Path, dockerfile: str, *, base: str, pip: Path, variant: str | None = None) -> Image:
    """Build an image. `context` is a staged folder and `dockerfile` a path in it."""
    command = ["build", "--platform", "linux/amd64", "--network", "host", "--secret", f"id=pip,src={pip}"]
    command += ["--build-arg", f"BASE_IMAGE={base}", "--tag", tag, "--file", str(context / dockerfile)]
    command += ["--build-arg", f"VARIANT={variant}"] if variant else []
    started = time.monotonic()
    docker(*command, str(context))
    return Image(tag, inspect(tag)["Id"], time.monotonic() - started)
