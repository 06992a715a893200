"""The code of the Lambda functions, with what they import."""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from aws_cdk import aws_lambda as lambda_

from stacks.constructs.assets import FUNCTIONS, ROOT, stage

RUNTIME = lambda_.Runtime.PYTHON_3_14
ARCHITECTURE = lambda_.Architecture.ARM_64
PYTHON_VERSION = RUNTIME.name.removeprefix("python")
PLATFORM = "manylinux2014_aarch64"
CACHE = ROOT / ".cache" / "lambda-dependencies"


def function_code(*, bundle: bool) -> Path:
    """Stage one folder with the code of every function and, if `bundle`, the packages that they import.

    Raises:
        RuntimeError: if pip could not install them.
    """
    folder = stage(FUNCTIONS)
    if bundle:
        shutil.copytree(_dependencies(ROOT), folder, dirs_exist_ok=True)
    return folder


def _dependencies(root: Path) -> Path:
    """Install `lambdas/requirements.txt` for the functions' own runtime and processor, which are not ours.

    What was installed is kept under a name made of everything that decided it, so that another synthesis needs
    neither pip nor a network.
    """
    requirements, constraints = root / "lambdas" / "requirements.txt", root / "constraints.txt"
    key = hashlib.sha256()
    for part in (requirements.read_bytes(), constraints.read_bytes(), PYTHON_VERSION.encode(), PLATFORM.encode()):
        key.update(hashlib.sha256(part).digest())
    folder = CACHE / key.hexdigest()[:16]
    if folder.is_dir():
        return folder
    unfinished = folder.with_suffix(".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"),
        *("--platform", PLATFORM, "--python-version", PYTHON_VERSION, "--implementation", "cp"),
        *("--only-binary=:all:", "--target", str(unfinished)),
        *("--requirement", str(requirements), "--constraint", str(constraints)),
    ]
    finished = subprocess.run(command, check=False, capture_output=True, text=True)
    if finished.returncode != 0:
        raise RuntimeError(
            f"pip could not install lambdas/requirements.txt for Python {PYTHON_VERSION} on {PLATFORM}; "
            f"`-c bundling=off` synthesises without:\n{finished.stderr.strip()}"
        )
    shutil.rmtree(unfinished / "bin", ignore_errors=True)  # console scripts name this machine's Python
    unfinished.rename(folder)
    return folder
