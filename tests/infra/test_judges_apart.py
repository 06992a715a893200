"""Judges that live in an environment of their own, `.cache/tools`, which `make check` makes."""

import copy
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import ROOT, Stage
from tests.infra.variants import STAGES

TOOLS = ROOT / ".cache" / "tools"

pytestmark = pytest.mark.skipif(not (TOOLS / ".complete").exists(), reason="no .cache/tools; `make check` makes it")

# What a policy says wrongly. The other issues of parliament judge how much it allows, which our own tests do exactly.
WRONG = {"UNKNOWN_ACTION", "UNKNOWN_PREFIX", "MALFORMED", "RESOURCE_MISMATCH", "UNKNOWN_CONDITION_FOR_ACTION"}

# parliament asks for a job beside definition and queue, and knows no revision in a definition's name; AWS does not and
# does. https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsbatch.html
# It asks for an express execution beside a standard one; either is enough.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_awsstepfunctions.html
# It asks for a service beside a deployment or revision of one, and for the rule of a network load balancer beside ours.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazonelasticcontainerservice.html
OUTDATED = {
    "batch:SubmitJob",
    "states:DescribeExecution",
    "ecs:DescribeServiceDeployments",
    "ecs:DescribeServiceRevisions",
    "elasticloadbalancing:CreateRule",
    "elasticloadbalancing:DeleteRule",
}


def test_checkov_finds_nothing_that_is_not_accepted(stages: dict[str, Stage], switched: Stage) -> None:
    """As anybody would run it over the assemblies of deployed stages: what is accepted is written in the templates."""
    folders = [stages["dev"].folder, stages["prod"].folder, switched.folder]
    results = _checkov([path for folder in folders for path in sorted(folder.glob("*.template.json"))])
    assert results["passed"] > 300, "checkov did not look"
    assert not results["failed"]


def test_what_checkov_is_told_of_fails_without_it_and_nothing_else_does(
    stages: dict[str, Stage], switched: Stage, tmp_path: Path
) -> None:
    bare = []
    told = set()
    for name, stage in {**stages, "switched": switched}.items():
        for room, template in stage.templates.items():
            without = copy.deepcopy(template)
            for logical_id, resource in without["Resources"].items():
                notes = resource.get("Metadata", {}).pop("checkov", {"skip": []})
                told |= {(f"{name}-{room}", logical_id, skip["id"]) for skip in notes["skip"]}
            bare.append(tmp_path / f"{name}-{room}.template.json")
            bare[-1].write_text(json.dumps(without))
    failed = set(_checkov(bare)["failed"])
    deployed = {it for it in failed if not it[0].startswith("local-")}
    assert not sorted(told - deployed), "stale"
    assert not sorted(deployed - told)
    # The laptop's templates are told nothing, to be quick; they fail nothing else.
    accepted = {(logical_id, check) for _, logical_id, check in told}
    assert not sorted(it for it in failed - deployed if it[1:] not in accepted)


@pytest.mark.parametrize("name", STAGES)
def test_parliament_knows_every_action_resource_and_condition(stages: dict[str, Stage], name: str) -> None:
    policies = _policies(stages[name])
    assert len(policies) > 8
    run = subprocess.run(
        [TOOLS / "bin" / "python", "-W", "ignore", str(Path(__file__).with_name("judge_policies.py"))],
        input=json.dumps(policies),
        capture_output=True,
        text=True,
        check=True,
    )
    wrong = [(where, issue, detail) for where, issue, detail in json.loads(run.stdout) if issue in WRONG]
    outdated = [it for it in wrong if it[1] == "RESOURCE_MISMATCH" and _actions(it[2]) <= OUTDATED]
    assert not sorted(set(wrong) - set(outdated))


def _actions(detail: str) -> set[str]:
    return set(re.findall(r"'action': '([^']+)'", detail))


def _checkov(files: list[Path]) -> dict[str, Any]:
    """The number of passed checks, and `(stack, logical id, check)` of each failed one."""
    run = subprocess.run(
        [
            *(TOOLS / "bin" / "python", "-W", "ignore", TOOLS / "bin" / "checkov", "--skip-download", "--quiet"),
            *("--framework", "cloudformation", "--output", "json"),
            *(part for file in files for part in ("--file", str(file))),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert run.stdout, run.stderr
    report = json.loads(run.stdout)
    return {
        "passed": report["summary"]["passed"],
        "failed": [
            (Path(check["file_path"]).name.partition(".")[0], check["resource"].rpartition(".")[2], check["check_id"])
            for check in report["results"]["failed_checks"]
        ],
    }


def _policies(stage: Stage) -> dict[str, Any]:
    """Every identity policy of a stage, with its references resolved to plausible names."""
    return {
        f"{room}/{logical_id}": {
            "Version": "2012-10-17",
            "Statement": _resolve(stage, room, resource["Properties"]["PolicyDocument"]["Statement"]),
        }
        for room, template in stage.templates.items()
        for logical_id, resource in template["Resources"].items()
        if resource["Type"] == "AWS::IAM::Policy"
    }


_PSEUDO = {"AWS::Partition": "aws", "AWS::Region": "us-east-1", "AWS::AccountId": "123456789012"}

_ARNS = {
    "AWS::S3::Bucket": "arn:aws:s3:::{name}",
    "AWS::Lambda::Function": "arn:aws:lambda:us-east-1:123456789012:function:{name}",
    "AWS::Logs::LogGroup": "arn:aws:logs:us-east-1:123456789012:log-group:{name}:*",
    "AWS::SNS::Topic": "arn:aws:sns:us-east-1:123456789012:{name}",
    "AWS::SQS::Queue": "arn:aws:sqs:us-east-1:123456789012:{name}",
    "AWS::IAM::Role": "arn:aws:iam::123456789012:role/{name}",
    "AWS::StepFunctions::StateMachine": "arn:aws:states:us-east-1:123456789012:stateMachine:{name}",
    "AWS::Batch::JobQueue": "arn:aws:batch:us-east-1:123456789012:job-queue/{name}",
    "AWS::Batch::JobDefinition": "arn:aws:batch:us-east-1:123456789012:job-definition/{name}:1",
    "AWS::DynamoDB::Table": "arn:aws:dynamodb:us-east-1:123456789012:table/{name}",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "app/{name}/0123456789abcdef",
    "AWS::ElasticLoadBalancingV2::Listener": "arn:aws:elasticloadbalancing:us-east-1:123456789012:listener/app/a/0/1",
    "AWS::ECR::Repository": "arn:aws:ecr:us-east-1:123456789012:repository/{name}",
}


def _resolve(stage: Stage, room: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_resolve(stage, room, item) for item in value]
    if not isinstance(value, dict):
        return value
    match next(iter(value.items()), ("", None)):
        case ("Ref", str(name)) if name in _PSEUDO:
            return _PSEUDO[name]
        case ("Ref", str(name)):
            is_arn = stage.templates[room]["Resources"][name]["Type"] in {
                "AWS::Batch::JobDefinition",
                "AWS::ElasticLoadBalancingV2::Listener",
                "AWS::SNS::Topic",
            }
            return _arn(stage, room, name) if is_arn else name.lower()
        case ("Fn::GetAtt", [str(name), *_]):
            return _arn(stage, room, name)
        case ("Fn::GetStackOutput", dict(output)):
            other = output["StackName"].rpartition("-")[2]
            return _resolve(stage, other, stage.templates[other]["Outputs"][output["OutputName"]]["Value"])
        case ("Fn::Join", [str(separator), list(parts)]):
            return separator.join(str(_resolve(stage, room, part)) for part in parts)
        case ("Fn::Split", [str(separator), text]):
            return str(_resolve(stage, room, text)).split(separator)
        case ("Fn::Select", [index, items]):
            return _resolve(stage, room, items)[int(index)]
        case ("Fn::Sub", str(text)):
            for name, plain in _PSEUDO.items():
                text = text.replace(f"${{{name}}}", plain)
            return text
        case (key, _) if key.startswith("Fn::"):
            raise AssertionError(f"this test does not resolve {key}")
    return {key: _resolve(stage, room, item) for key, item in value.items()}


def _arn(stage: Stage, room: str, logical_id: str) -> str:
    kind = stage.templates[room]["Resources"][logical_id]["Type"]
    return _ARNS[kind].format(name=logical_id.lower())
