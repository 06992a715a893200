"""What `cdk diff` shows between two commits that differ in comments only."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.infra.conftest import ROOT, Stage

# What is deployed is uploaded as it is, comments included: a traceback names the line that the source has.
UPLOADED = ("contract", "lambdas", "training_image", "serving_image")
NOT_UPLOADED = ("app.py", "config", "stacks")


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
    context = {**json.loads((ROOT / "cdk.json").read_text())["context"], "stage": "dev", "bundling": "off"}
    subprocess.run(
        [sys.executable, "app.py"],
        cwd=repository,
        env={
            **os.environ,
            "CDK_CONTEXT_JSON": json.dumps({**context, "aws:cdk:disable-version-reporting": True}),
            "CDK_OUTDIR": str(tmp_path / "cdk.out"),
            "CDK_VALIDATION": "false",  # test_judges asks the CDK's rules
            "PYTHONPATH": str(repository),
        },
        check=True,
        capture_output=True,
    )
    for kind in ("template", "assets"):
        before = {path.name: path.read_text() for path in stages["dev"].folder.glob(f"*.{kind}.json")}
        after = {path.name: path.read_text() for path in (tmp_path / "cdk.out").glob(f"*.{kind}.json")}
        assert set(before) == set(after)
        assert [name for name in before if before[name] != after[name]] == []
