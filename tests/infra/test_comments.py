"""What `cdk diff` shows between two commits that differ in comments only."""

import importlib
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.infra.conftest import ROOT, Stage, synthesise

# What is deployed is uploaded as it is, comments included: a traceback names the line that the source has.
UPLOADED = ("contract", "lambdas", "training_image", "serving_image")
NOT_UPLOADED = ("app.py", "config", "stacks")
IMPORTED = ("app", "config", "contract", "stacks")


@contextmanager
def imported_from(repository: Path) -> Iterator[None]:
    """Let everything that describes a deployment be imported anew, from another folder."""
    ours = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in IMPORTED}
    for name in ours:
        del sys.modules[name]
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(repository)
            yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] in IMPORTED]:
            del sys.modules[name]
        sys.modules.update(ours)


def test_a_comment_in_what_describes_a_deployment_changes_nothing(stages: dict[str, Stage], tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    for part in (*UPLOADED, *NOT_UPLOADED, "statemachine", "constraints.txt"):
        source, target = ROOT / part, repository / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
    commented = 0
    for part in NOT_UPLOADED:
        path = repository / part
        for file in [path] if path.is_file() else [*path.rglob("*.py"), *path.rglob("*.yaml")]:
            file.write_text(f"# Somebody explains.\n{file.read_text()}\n# And explains again.\n")
            commented += 1
    assert commented > 20
    with imported_from(repository):
        load_settings = importlib.import_module("config.settings").load_settings
        synthesise(load_settings("dev"), tmp_path / "cdk.out")
        used = {Path(str(it.__file__)) for name, it in sys.modules.items() if name.partition(".")[0] in IMPORTED}
    assert len(used) > 20
    assert not [path for path in used if not path.is_relative_to(repository)]
    for kind in ("template", "assets"):
        before = {path.name: path.read_text() for path in stages["dev"].folder.glob(f"*.{kind}.json")}
        after = {path.name: path.read_text() for path in (tmp_path / "cdk.out").glob(f"*.{kind}.json")}
        assert before
        assert set(before) == set(after)
        assert [name for name in before if before[name] != after[name]] == []
