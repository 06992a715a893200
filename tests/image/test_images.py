"""What is in the images and how they are built."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.image.building import ROOT, Image, build
from tests.image.conftest import figure
from tests.image.docker import NO_NETWORK, run

_INSTALLED = """
import importlib.metadata, json
print(json.dumps({d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}))
"""


def _python(image: Image, code: str) -> str:
    done = run(image.identifier, "-c", code, options=(NO_NETWORK, "--entrypoint=python"))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(params=["training", "serving"])
def image(request: pytest.FixtureRequest) -> Image:
    found: Image = request.getfixturevalue(request.param)
    return found


def test_size(training: Image, serving: Image) -> None:
    assert serving.megabytes <= 300
    assert training.megabytes <= 1500


def test_nobody_is_root_and_process_1_is_python(image: Image) -> None:
    assert image.config["User"] == "10001:10001"
    assert image.config["Entrypoint"][0] == "python"
    assert _python(image, "import os; print(os.getpid(), os.getuid(), os.getgid())").split() == ["1", "10001", "10001"]


def _requirements(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if line and not line.startswith("#")]


def test_packages_are_those_of_the_lock_file_and_no_others(image: Image) -> None:
    name = "training_image/requirements-cpu.lock" if "training" in image.tag else "serving_image/requirements.lock"
    locked = dict(re.findall(r"^(\S+)==(\S+) ", (ROOT / name).read_text(), re.MULTILINE))
    installed = {key.lower().replace("_", "-"): value for key, value in json.loads(_python(image, _INSTALLED)).items()}
    if "training" in image.tag and _requirements(ROOT / "training_image" / "requirements-environments.txt"):
        assert locked.items() <= installed.items()
    else:
        assert installed == locked


def test_training_for_cpus_has_no_cuda(training: Image) -> None:
    assert _python(training, "import torch; print(torch.version.cuda)") == "None\n"


def test_every_environment_of_the_catalogue_can_be_stepped(training: Image) -> None:
    code = """
import json, gymnasium
import training_image.trainer.envs.installed
for identifier in json.load(open("contract/catalogue.json"))["environments"]:
    environment = gymnasium.make(identifier)
    environment.reset(seed=0)
    environment.step(environment.action_space.sample())
"""
    _python(training, code)


def test_labels(image: Image, base: str) -> None:
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.base.name"] == base


def test_every_module_is_compiled_already(image: Image) -> None:
    """Nothing can be compiled later, on a read-only file system."""
    code = """
import importlib.util, pathlib
print([str(path) for path in pathlib.Path("/opt/rlpipe").rglob("*.py")
       if not pathlib.Path(importlib.util.cache_from_source(path)).exists()])
"""
    assert _python(image, code) == "[]\n"


def test_a_change_of_code_rebuilds_nothing_but_the_code(
    training: Image, training_context: Path, base: str, pip: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "context"
    shutil.copytree(training_context, changed)
    with (changed / "training_image" / "train_rl.py").open("a") as script:
        script.write("# changed\n")
    dockerfile = "training_image/Dockerfile"
    rebuilt = build("rlpipe/training:changed", changed, dockerfile, base=base, pip=pip, variant="cpu")
    again = build("rlpipe/training:again", training_context, dockerfile, base=base, pip=pip, variant="cpu")
    figure(f"training: rebuilt in {rebuilt.seconds:.1f} s after a change of code, in {again.seconds:.1f} s after none")
    same = [before == after for before, after in zip(training.layers, rebuilt.layers, strict=True)]
    assert same == [True] * (len(same) - 2) + [False, False]  # the code, and what was compiled from it
    assert again.identifier == training.identifier


def test_an_environment_of_ones_own_is_in_the_image(
    base: str, pip: Path, training: Image, training_context: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "context"
    shutil.copytree(training_context, changed)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    example = shutil.copytree(ROOT / "examples" / "custom_environment", tmp_path / "example")
    subprocess.run([*command, "--wheel-dir", str(changed / "training_image"), str(example)], check=True)
    [wheel] = (changed / "training_image").glob("*.whl")
    (changed / "training_image" / "requirements-environments.txt").write_text(f"training_image/{wheel.name}\n")
    image = build("rlpipe/training:own", changed, "training_image/Dockerfile", base=base, pip=pip, variant="cpu")
    _python(
        image,
        "from contract.run import EnvironmentSection; from training_image.trainer.envs import environments; "
        "environments.make(EnvironmentSection(id='Example/Corridor-v0'), 2).reset()",
    )


def test_a_package_that_is_not_the_locked_one_is_refused(
    base: str, pip: Path, training_context: Path, tmp_path: Path
) -> None:
    changed = tmp_path / "context"
    shutil.copytree(training_context, changed)
    lock = changed / "training_image" / "requirements-cpu.lock"
    lock.write_text(re.sub(r"^(six==\S+ --hash=sha256:).*", rf"\g<1>{'0' * 64}", lock.read_text(), flags=re.MULTILINE))
    with pytest.raises(AssertionError, match="THESE PACKAGES DO NOT MATCH THE HASHES"):
        build("rlpipe/training:wrong", changed, "training_image/Dockerfile", base=base, pip=pip, variant="cpu")
