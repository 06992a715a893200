"""What the images install: locked by name, version and hash, in the versions that everything else here has."""

import re
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT
from tools.lock_images import LOCKS
from tools.sbom import bill

_LOCKED = re.compile(r"([a-z0-9.-]+)==(\S+) --hash=sha256:[0-9a-f]{64}")
_CUDA = re.compile(r"nvidia-|cuda-|triton$")
"""What only the GPU image has."""

_NEVER_FROZEN = "setuptools"
"""`pip freeze`, which writes the constraints, leaves it out."""


def _name(text: str) -> str:
    return text.lower().replace("_", "-")


def _locked(path: str) -> dict[str, str]:
    lines = [line for line in (ROOT / path).read_text().splitlines() if not line.startswith("#")]
    matches = [_LOCKED.fullmatch(line) for line in lines]
    assert all(matches), lines
    return {match[1]: match[2] for match in matches if match}


def _wanted(path: Path) -> dict[str, str]:
    """Names and versions of a requirements file and of those that it refers to; its own lines win."""
    wanted: dict[str, str] = {}
    for line in path.read_text().splitlines():
        if line.startswith("-r "):
            wanted |= _wanted(path.parent / line.removeprefix("-r "))
        elif line and not line.startswith("#"):
            name, version = re.split("={2,3}", line)
            wanted[_name(name)] = version
    return wanted


@pytest.mark.parametrize(("lock", "requirements"), LOCKS.items(), ids=LOCKS.keys())
def test_everything_required_is_locked(lock: str, requirements: str) -> None:
    assert _wanted(ROOT / requirements).items() <= _locked(lock).items(), "python tools/lock_images.py writes it anew"


@pytest.mark.parametrize("lock", LOCKS)
def test_images_have_the_versions_of_the_constraints(lock: str) -> None:
    pins = (line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines())
    constraints = {_name(name): version for name, version in pins}
    for name, version in _locked(lock).items():
        if name != _NEVER_FROZEN and not _CUDA.match(name):
            assert version.removesuffix("+cpu") == constraints[name], f"{name} in {lock}"


def test_only_the_gpu_image_has_cuda() -> None:
    having = {lock for lock in LOCKS if any(_CUDA.match(name) for name in _locked(lock))}
    assert having == {"training_image/requirements-gpu.lock"}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_bill_of_materials_names_every_package_with_its_hash(lock: str) -> None:
    components = bill(ROOT / lock)["components"]
    assert {component["name"]: component["version"] for component in components} == _locked(lock)
    assert len({component["hashes"][0]["content"] for component in components}) == len(components)
    assert bill(ROOT / lock) == bill(ROOT / lock)
