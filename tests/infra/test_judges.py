"""Independent judges of the templates and of the state machine."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import aws_cdk as cdk
import jsii
import pytest
from constructs import IConstruct

from tests.infra.conftest import ROOMS, ROOT, Syntheses
from tests.infra.variants import STAGES, VARIANTS

DEFINITION = ROOT / "statemachine" / "pipeline.asl.json"
BIN = Path(sys.executable).parent


@jsii.implements(cdk.IPolicyValidationContext)
class Synthesised:
    """Templates as the CDK shows them to those who judge them."""

    def __init__(self, templates: list[Path]) -> None:
        self._app = cdk.App()
        self._templates = templates

    @property
    def app_construct(self) -> IConstruct:
        return self._app

    @property
    def template_paths(self) -> list[str]:
        return [str(path) for path in self._templates]

    @property
    def stack_templates(self) -> list[cdk.PolicyValidationStack]:
        return [
            cdk.PolicyValidationStack(stack_construct_path=path.name, template_path=str(path))
            for path in self._templates
        ]


def _templates(syntheses: Syntheses, names: Iterable[str], folder: Path) -> list[Path]:
    """Every template of these stages and variants as judges see it, those with the same text once."""
    stages = syntheses.all(names)
    shown = [
        _shown(path, folder / f"{name}-{path.name}")
        for name, stage in stages.items()
        for path in sorted(stage.folder.glob("*.template.json"))
    ]
    assert len(shown) == len(stages) * len(ROOMS)
    return list({path.read_text(): path for path in shown}.values())


def test_the_cdks_own_rules_find_nothing_and_would(
    syntheses: Syntheses, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """They judge each `cdk synth` of a deployed stage too."""
    templates = _templates(syntheses, (*STAGES, *VARIANTS), tmp_path)
    with _unseen(pytestconfig, "cdk", version("aws-cdk-lib"), templates) as unseen:
        if not unseen:
            return
        rules = cdk.CloudFormationValidatePlugin()
        found = rules.validate(Synthesised(unseen)).violations
        assert [(it.rule_name, it.description, it.violating_resources[0].template_path) for it in found] == []
        wrong = tmp_path / "wrong.template.json"
        wrong.write_text(json.dumps({"Resources": {"A": {"Type": "AWS::SNS::Topic", "Properties": {"Nme": "a"}}}}))
        assert not rules.validate(Synthesised([wrong])).success


def test_cfn_lint_finds_nothing(syntheses: Syntheses, tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """Not in variants: it knows no `Fn::GetStackOutput` inside the functions that take a repository's ARN apart."""
    templates = _templates(syntheses, STAGES, tmp_path)
    rules = version("cfn-lint") + (ROOT / ".cfnlintrc").read_text()
    with _unseen(pytestconfig, "cfn-lint", rules, templates) as unseen:
        if unseen:
            _judge(str(BIN / "cfn-lint"), *map(str, unseen))


def test_statelint_finds_nothing(tmp_path: Path) -> None:
    _judge(str(BIN / "statelint"), str(_shown(DEFINITION, tmp_path / DEFINITION.name)))


def test_asl_validator_finds_nothing() -> None:
    _judge(str(ROOT / "node_modules" / ".bin" / "asl-validator"), "--json-path", str(DEFINITION))


@pytest.mark.parametrize("image", ["training_image", "serving_image"])
def test_hadolint_finds_nothing(image: str) -> None:
    _judge(str(BIN / "hadolint"), str(ROOT / image / "Dockerfile"))


@contextmanager
def _unseen(config: pytest.Config, judge: str, version: str, templates: list[Path]) -> Iterator[list[Path]]:
    """What a slow judge has not been shown yet; all that it was, and found right, is remembered for the next time.

    By the hash of the template, of the judge's version and of this file.
    """
    if config.cache is None:
        yield templates
        return
    asked = version + Path(__file__).read_text()
    keys = {path: hashlib.sha256((asked + path.read_text()).encode()).hexdigest() for path in templates}
    seen = set(config.cache.get(f"infra/{judge}", []))
    yield [path for path in templates if keys[path] not in seen]
    config.cache.set(f"infra/{judge}", sorted(keys.values()))


def _shown(path: Path, copy: Path) -> Path:
    """A copy for judges that know no JSONata in a time limit, where Step Functions does: a number stands there.

    https://docs.aws.amazon.com/step-functions/latest/dg/transforming-data.html
    And without the hashes of what is uploaded, which change with every line of code.
    """
    text = path.read_text(encoding="utf-8")
    text = re.sub(r'(\\?"TimeoutSeconds\\?": )\\?"\{%[^"\\]*%\}\\?"', r"\g<1>60", text)
    copy.write_text(re.sub(r"\b[0-9a-f]{64}\b", "0" * 64, text), encoding="utf-8")
    return copy


def _judge(*command: str) -> None:
    environment = {**os.environ, "PATH": os.pathsep.join((str(BIN), os.environ.get("PATH", "")))}
    verdict = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert verdict.returncode == 0, verdict.stdout + verdict.stderr
