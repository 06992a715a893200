"""Write the lock files of the images: every package, its version and the hash of the one file that is installed.

    python tools/lock_images.py [NAME ...]      the lock files to write; all of them when none is named

pip resolves for the images' platform, whatever machine this runs on, from the indexes that it is configured with.
PyTorch's wheels for CPUs are not on PyPI: to write requirements-cpu.lock, configure the index that has them.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

PYTHON_VERSION = "3.11"
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in range(28, 16, -1)] + ["manylinux2014_x86_64"]
"""Bookworm has glibc 2.36; nothing in the images needs a wheel newer than these."""

LOCKS = {
    "serving_image/requirements.lock": "serving_image/requirements.txt",
    "training_image/requirements-cpu.lock": "training_image/requirements-cpu.txt",
    "training_image/requirements-gpu.lock": "training_image/requirements-gpu.txt",
}
"""What each lock file locks."""


def main(names: list[str]) -> int:
    """Write the named lock files; returns the exit code."""
    if unknown := sorted(set(names) - LOCKS.keys()):
        sys.stderr.write(f"{', '.join(unknown)}: no such lock file; there are {', '.join(LOCKS)}\n")
        return 2
    for name in names or list(LOCKS):
        try:
            text = lock(ROOT / LOCKS[name])
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"{name} stays as it was: {error.stderr.strip().splitlines()[-1]}\n")
            return 1
        (ROOT / name).write_text(text, encoding="utf-8")
        sys.stderr.write(f"{name}: {text.count('==')} packages\n")
    return 0


def lock(requirements: Path) -> str:
    """The text of a lock file, from what pip would install in an empty environment.

    Raises:
        subprocess.CalledProcessError: pip found no set of packages that fits; its words are in `stderr`.
    """
    packages = sorted(_resolve(requirements), key=lambda package: package["metadata"]["name"].lower())
    lines = [f"# Written from {requirements.relative_to(ROOT)} by tools/lock_images.py.\n"]
    for package in packages:
        digest = package["download_info"]["archive_info"]["hashes"]["sha256"]
        name, version = package["metadata"]["name"].lower().replace("_", "-"), package["metadata"]["version"]
        lines.append(f"{name}=={version} --hash=sha256:{digest}\n")
    return "".join(lines)


def _resolve(requirements: Path) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--dry-run", "--ignore-installed", "--report", str(report), "--target", folder]
        command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", PYTHON_VERSION]
        command += [argument for platform in PLATFORMS for argument in ("--platform", platform)]
        command += ["--requirement", str(requirements), "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run(command, check=True, capture_output=True, text=True)
        packages: list[dict[str, Any]] = json.loads(report.read_text(encoding="utf-8"))["install"]
        return packages


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
