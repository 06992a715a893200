"""What is uploaded."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import aws_cdk as cdk
import pytest

from stacks.constructs.assets import FUNCTIONS, SERVING_IMAGE, TRAINING_IMAGE, stage
from tests.infra.conftest import ROOT, Stage


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A small repository."""
    for path in (
        "contract/__init__.py",
        "contract/catalogue.json",
        "lambdas/prepare/handler.py",
        "serving_image/Dockerfile",
        "training_image/Dockerfile",
        "training_image/hyperparameters/ppo.yaml",
        "training_image/trainer/loop.py",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    return tmp_path


def _hash(repository: Path, parts: tuple[str, ...] = TRAINING_IMAGE) -> str:
    return cdk.FileSystem.fingerprint(str(stage(parts, root=repository)))


def _compile(repository: Path) -> None:
    (repository / "contract/__pycache__").mkdir()
    (repository / "contract/__pycache__/run.cpython-311.pyc").write_bytes(b"\0")


def _test(repository: Path) -> None:
    (repository / "training_image/tests").mkdir()
    (repository / "training_image/tests/test_loop.py").write_text("assert True")


def _hide(repository: Path) -> None:
    (repository / "training_image/.coverage").write_text("")


def _touch(repository: Path) -> None:
    os.utime(repository / "training_image/trainer/loop.py", (0, 0))


def _chmod(repository: Path) -> None:
    (repository / "training_image/trainer/loop.py").chmod(0o777)


@pytest.mark.parametrize("change", [_compile, _test, _hide, _touch, _chmod])
def test_what_does_not_run_does_not_change_the_hash(repository: Path, change: Callable[[Path], None]) -> None:
    before = _hash(repository)
    change(repository)
    assert _hash(repository) == before


def test_what_runs_changes_the_hash(repository: Path) -> None:
    before = _hash(repository)
    (repository / "training_image/trainer/loop.py").write_text("changed")
    assert _hash(repository) != before


def test_serving_is_not_rebuilt_for_a_change_of_training(repository: Path) -> None:
    before = _hash(repository, SERVING_IMAGE)
    (repository / "training_image/trainer/loop.py").write_text("changed")
    assert _hash(repository, SERVING_IMAGE) == before


def test_a_missing_part_is_named(repository: Path) -> None:
    with pytest.raises(FileNotFoundError, match="lambda"):
        stage(("contract", "lambda"), root=repository)


def _contexts(stage: Stage) -> dict[str, tuple[Path, str]]:
    """Folder and Dockerfile of each image of an assembly, by name."""
    found = {}
    for file in stage.folder.glob("*.assets.json"):
        for image in json.loads(file.read_text())["dockerImages"].values():
            source = image["source"]
            assert source["platform"] == "linux/amd64"
            found[image["displayName"]] = (stage.folder / source["directory"], source["dockerFile"])
    return found


def test_contexts_hold_the_dockerfile_and_everything_it_copies(stages: dict[str, Stage]) -> None:
    contexts = _contexts(stages["dev"])
    assert set(contexts) == {"training_image", "serving_image"}
    for name, (folder, dockerfile) in contexts.items():
        assert dockerfile == f"{name}/Dockerfile"
        assert sorted(path.name for path in folder.iterdir()) == sorted(["contract", name])
        for line in re.findall(r"^COPY (?!--from)(.+)$", (folder / dockerfile).read_text(), re.MULTILINE):
            # Wheels are there if somebody has put some.
            for source in [word for word in line.split() if not word.startswith("--") and "*" not in word][:-1]:
                # Either variant of the training image: `requirements-${VARIANT}.lock`.
                assert list(folder.glob(source.replace("${VARIANT}", "[cg]pu"))), (
                    f"{dockerfile} copies {source}, which its context does not have"
                )


def test_nothing_of_this_machine_is_uploaded(stages: dict[str, Stage]) -> None:
    names = {path.name for path in stages["dev"].folder.glob("asset.*/**/*")}
    assert "handler.py" in names
    assert not {name for name in names if name.endswith(".pyc") or name in {"__pycache__", ".venv", "tests"}}


def test_all_functions_share_one_package(stage: Stage) -> None:
    functions = stage.resources("AWS::Lambda::Function").values()
    [key] = {function["Code"]["S3Key"] for function in functions}
    folder = stage.folder / f"asset.{key.removesuffix('.zip')}"
    assert {path.name for path in folder.iterdir()} == set(FUNCTIONS)


def test_stages_upload_the_same_assets(stages: dict[str, Stage]) -> None:
    """A laptop runs what an account runs."""
    assets = {name: {path.name for path in found.folder.glob("asset.*")} for name, found in stages.items()}
    assert assets["local"] == assets["dev"] == assets["prod"]


def test_requirements_of_the_functions_are_locked() -> None:
    locked = {line.partition("==")[0].lower() for line in (ROOT / "constraints.txt").read_text().splitlines()}
    lines = (ROOT / "lambdas" / "requirements.txt").read_text().splitlines()
    wanted = {line.partition("==")[0].lower() for line in lines if line and not line.startswith("#")}
    assert wanted <= locked
