"""Independent judges of the templates and of the state machine."""

import os
import subprocess
import sys
from pathlib import Path

from tests.infra.conftest import ROOT, Stage

DEFINITION = ROOT / "statemachine" / "pipeline.asl.json"
BIN = Path(sys.executable).parent


def test_cfn_lint_finds_nothing(stages: dict[str, Stage]) -> None:
    templates = [str(path) for stage in stages.values() for path in sorted(stage.folder.glob("*.template.json"))]
    assert len(templates) == 21
    _judge(str(BIN / "cfn-lint"), *templates)


def test_statelint_finds_nothing() -> None:
    _judge(str(BIN / "statelint"), str(DEFINITION))


def test_asl_validator_finds_nothing() -> None:
    _judge(str(ROOT / "node_modules" / ".bin" / "asl-validator"), "--json-path", str(DEFINITION))


def _judge(*command: str) -> None:
    environment = {**os.environ, "PATH": os.pathsep.join((str(BIN), os.environ.get("PATH", "")))}
    verdict = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
