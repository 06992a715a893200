"""Independent judges of the templates and of the state machine."""

import hashlib
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import aws_cdk as cdk
import jsii
import pytest
from constructs import IConstruct

from tests.infra.conftest import ROOMS, ROOT, Stage, Syntheses
from tests.infra.variants import STAGES, VARIANTS

DEFINITION = ROOT / "statemachine" / "pipeline.asl.json"
BIN = Path(sys.executable).parent


@jsii.implements(cdk.IPolicyValidationContext)
class Synthesised:
    """Templates as the CDK shows them to those who judge them."""

    def __init__(self, templates: list[Path]) -> None:
        self._app = cdk.App()
        self.templates = templates

    @property
    def app_construct(self) -> IConstruct:
        return self._app

    @property
    def template_paths(self) -> list[str]:
        return [str(path) for path in self.templates]

    @property
    def stack_templates(self) -> list[cdk.PolicyValidationStack]:
        return [
            cdk.PolicyValidationStack(stack_construct_path=path.name, template_path=str(path))
            for path in self.templates
        ]


def test_the_cdks_own_rules_find_nothing_and_would(syntheses: Syntheses, tmp_path: Path) -> None:
    """They judge each `cdk synth` of a deployed stage; here all that tests synthesise, in one go."""
    rules = cdk.CloudFormationValidatePlugin()
    for name, stage in syntheses.all((*STAGES, *VARIANTS)).items():
        report = rules.validate(Synthesised(sorted(stage.folder.glob("*.template.json"))))
        assert [(name, it.rule_name, it.description) for it in report.violations] == []
    wrong = tmp_path / "wrong.template.json"
    wrong.write_text(json.dumps({"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": {"Nme": "a"}}}}))
    assert not rules.validate(Synthesised([wrong])).success


def test_cfn_lint_finds_nothing(stages: dict[str, Stage], tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """It takes a second for each template, so one that it has seen and found right is not shown to it again."""
    templates = [path for stage in stages.values() for path in sorted(stage.folder.glob("*.template.json"))]
    assert len(templates) == len(stages) * len(ROOMS)
    rules = version("cfn-lint") + (ROOT / ".cfnlintrc").read_text()
    shown = {path: _shown(path, tmp_path) for path in templates}
    key = {path: hashlib.sha256((rules + Path(shown[path]).read_text()).encode()).hexdigest() for path in templates}
    known = pytestconfig.cache.get("infra/cfn-lint", []) if pytestconfig.cache else []
    unknown = [path for path in templates if key[path] not in known]
    if unknown:
        _judge(str(BIN / "cfn-lint"), *(shown[path] for path in unknown))
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
    And without the hashes of what is uploaded, which change with every line of code.
    """
    copy = folder / path.name
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'(\\?"TimeoutSeconds\\?": )\\?"\{%[^"\\]*%\}\\?"', r"\g<1>60", text)
    copy.write_text(re.sub(r"\b[0-9a-f]{64}\b", "0" * 64, text), encoding="utf-8")
    return str(copy)


def _judge(*command: str) -> None:
    environment = {**os.environ, "PATH": os.pathsep.join((str(BIN), os.environ.get("PATH", "")))}
    verdict = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
