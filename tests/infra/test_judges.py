"""Independent judges of the templates and of the state machine."""

import hashlib
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.infra.conftest import ROOMS, ROOT, Stage

DEFINITION = ROOT / "statemachine" / "pipeline.asl.json"
BIN = Path(sys.executable).parent


def test_cfn_lint_finds_nothing(stages: dict[str, Stage], tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """It takes a second for each template, so one that it has seen and found right is not shown to it again."""
    templates = [path for stage in stages.values() for path in sorted(stage.folder.glob("*.template.json"))]
    assert len(templates) == len(stages) * len(ROOMS)
    rules = version("cfn-lint") + (ROOT / ".cfnlintrc").read_text()
    key = {path: hashlib.sha256((rules + path.read_text()).encode()).hexdigest() for path in templates}
    known = pytestconfig.cache.get("infra/cfn-lint", []) if pytestconfig.cache else []
    unknown = [path for path in templates if key[path] not in known]
    if unknown:
        _judge(str(BIN / "cfn-lint"), *(_shown(path, tmp_path) for path in unknown))
    if pytestconfig.cache:
        pytestconfig.cache.set("infra/cfn-lint", sorted(key.values()))


def test_statelint_finds_nothing(tmp_path: Path) -> None:
    _judge(str(BIN / "statelint"), _shown(DEFINITION, tmp_path))


def test_asl_validator_finds_nothing() -> None:
    _judge(str(ROOT / "node_modules" / ".bin" / "asl-validator"), "--json-path", str(DEFINITION))


@pytest.mark.parametrize("image", ["training_image", "serving_image"])
def test_hadolint_finds_nothing(image: str) -> None:
    _judge(str(BIN / "hadolint"), str(ROOT / image / "Dockerfile"))


def _shown(path: Path, folder: Path) -> str:
    """A copy for judges that know no JSONata in a time limit, where Step Functions does: a number stands there.

    https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
    """
    copy = folder / path.name
    text = path.read_text(encoding="utf-8")
    copy.write_text(re.sub(r'(\\?"TimeoutSeconds\\?": )\\?"\{%[^"\\]*%\}\\?"', r"\g<1>60", text), encoding="utf-8")
    return str(copy)


def _judge(*command: str) -> None:
    environment = {**os.environ, "PATH": os.pathsep.join((str(BIN), os.environ.get("PATH", "")))}
    verdict = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
