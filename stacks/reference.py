"""The reference of the stacks, drawn from the synthesised templates: `python -m stacks.reference`.

Writes docs/reference/stacks.md. Prices are list prices of us-east-1, in USD, a month of 730 hours; they stand in
`MONTHLY` and are the only thing here that the templates do not say.
"""

import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from config.settings import Settings, load_settings
from stacks.constructs.assets import ROOT

PAGE = ROOT / "docs" / "reference" / "stacks.md"
STAGES = ("dev", "prod")

MONTHLY = {
    "AWS::EC2::NatGateway": 32.85,
    "AWS::WAFv2::WebACL": 9.0,  # with its four rules
    "AWS::KMS::Key": 1.0,
    "AWS::CloudWatch::Alarm": 0.10,
    "AWS::CloudWatch::Dashboard": 3.0,  # the first three of an account are free
}
"""What a resource costs while nothing happens; of an interface endpoint see below. Everything else is paid by use."""

ENDPOINT_IN_A_ZONE = 7.30
SERVING_PER_HOUR = {"ml.t2.medium": 0.056, "ml.m5.large": 0.115}

_INTRODUCTION = """\
# The stacks

Made from the synthesised templates by `python -m stacks.reference`; a test holds it to them. Stacks are named
`rlpipe-<stage>-<room>`. Prices are list prices of us-east-1 in USD; "idle" is a month in which no run is started and
no endpoint stands.
"""

Template = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Synthesised:
    """The templates of one stage by room, in the order of deployment."""

    settings: Settings
    templates: dict[str, Template]


def page(stages: dict[str, Synthesised]) -> str:
    """The whole page."""
    dev = stages["dev"]
    parts = [_INTRODUCTION, "## How they hang together\n", _diagram(dev), "## What it costs\n", _costs(stages)]
    for room in dev.templates:
        parts += [f"## {room}\n", *_room(room, stages)]
    return "\n".join(parts)


def _room(room: str, stages: dict[str, Synthesised]) -> Iterator[str]:
    template = stages["dev"].templates[room]
    yield f"{template['Description']}\n"
    counted = Counter(resource["Type"] for resource in template["Resources"].values())
    yield "Resources: " + ", ".join(f"{kind.removeprefix('AWS::')} {n}" for kind, n in sorted(counted.items())) + ".\n"
    inputs = sorted({f"`{source}`" for source, _ in _references(template)})
    yield f"Takes values of: {', '.join(inputs) or 'no other stack'}.\n"
    named = [name for name in template.get("Outputs", {}) if not name.startswith("PublishOutput")]
    yield f"Outputs by name: {', '.join(f'`{name}`' for name in named) or 'none'}.\n"
    alarms = [name for name, it in template["Resources"].items() if it["Type"] == "AWS::CloudWatch::Alarm"]
    yield f"Alarms: {', '.join(alarms) or 'none'}.\n"
    idle = {name: _idle(stage.templates[room]) for name, stage in stages.items()}
    yield "Idle, a month: " + ", ".join(f"{name} ${cost:.2f}" for name, cost in idle.items()) + ".\n"
    grants = list(_grants(template))
    if grants:
        yield "| role | may | on |\n|---|---|---|"
        yield "\n".join(f"| {role} | {actions} | {resources} |" for role, actions, resources in grants) + "\n"


def _grants(template: Template) -> Iterator[tuple[str, str, str]]:
    for resource in template["Resources"].values():
        if resource["Type"] != "AWS::IAM::Policy":
            continue
        [role, *_] = [_name(reference["Ref"]) for reference in resource["Properties"]["Roles"]]
        for statement in resource["Properties"]["PolicyDocument"]["Statement"]:
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            targets = statement["Resource"] if isinstance(statement["Resource"], list) else [statement["Resource"]]
            yield (
                role,
                ", ".join(f"`{action}`" for action in actions),
                ", ".join(sorted({f"`{_text(target)}`" for target in targets})),
            )


def _text(value: Any) -> str:
    """A resource of a policy, readable: references by the name of what they refer to."""
    if isinstance(value, str):
        return value
    [(function, argument)] = value.items()
    if function == "Ref":
        return {"AWS::Partition": "aws", "AWS::Region": "<region>", "AWS::AccountId": "<account>"}.get(
            argument, f"<{_name(argument)}>"
        )
    if function == "Fn::GetAtt":
        return f"<{_name(argument[0])}>"
    if function == "Fn::Join":
        return "".join(_text(part) for part in argument[1])
    if function == "Fn::GetStackOutput":
        return f"<{argument['StackName'].rpartition('-')[2]}: {_of_output(argument['OutputName'])}>"
    if function == "Fn::Sub":
        return str(argument).replace("${AWS::AccountId}", "<account>").replace("${AWS::Region}", "<region>")
    if function in {"Fn::Select", "Fn::Split"}:
        return _text(argument[1]) if not isinstance(argument[1], list) else _text(argument[1][int(argument[0])])
    return str(function)


def _of_output(output: str) -> str:
    """The resource that an exported value is of: `PublishOutputFnGetAttRuns0123ABCDArn89ABCDEF` gives `Runs`."""
    name = _name(output).removeprefix("PublishOutput").removeprefix("FnGetAtt").removeprefix("Ref")
    return _name(re.sub(r"([0-9A-F]{8})[A-Za-z]+$", r"\1", name))


def _name(logical_id: str) -> str:
    """A logical id without the hash at its end."""
    return re.sub(r"[0-9A-F]{8}$", "", logical_id)


def _references(value: Any) -> Iterator[tuple[str, str]]:
    """`(room, output)` of every value that a template takes from another stack."""
    if isinstance(value, list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        if "Fn::GetStackOutput" in value:
            output = value["Fn::GetStackOutput"]
            yield output["StackName"].rpartition("-")[2], output["OutputName"]
        for item in value.values():
            yield from _references(item)


_DRAWN = {
    "AWS::S3::Bucket": "bucket",
    "AWS::SNS::Topic": "topic",
    "AWS::DynamoDB::Table": "table",
    "AWS::Lambda::Function": "function",
    "AWS::StepFunctions::StateMachine": "state machine",
    "AWS::Batch::JobQueue": "queue",
    "AWS::Batch::JobDefinition": "job",
    "AWS::Batch::ComputeEnvironment": "instances",
    "AWS::Events::Rule": "rule",
    "AWS::SageMaker::ModelPackageGroup": "model registry",
    "AWS::ApiGateway::RestApi": "API",
    "AWS::EC2::VPC": "VPC",
}


def _diagram(stage: Synthesised) -> str:
    """Each stack with what matters in it; an arrow from a stack to those it takes values of."""
    lines = ["```mermaid", "flowchart LR"]
    for room, template in stage.templates.items():
        lines.append(f"  subgraph {room}")
        for name, resource in template["Resources"].items():
            if resource["Type"] in _DRAWN:
                lines.append(f'    {room}_{name}["{_name(name)}<br/>{_DRAWN[resource["Type"]]}"]')
        lines.append("  end")
    for room, template in stage.templates.items():
        lines += sorted({f"  {room} --> {source}" for source, _ in _references(template)})
    return "\n".join([*lines, "```", ""])


def _idle(template: Template) -> float:
    total = 0.0
    for resource in template["Resources"].values():
        total += MONTHLY.get(resource["Type"], 0.0)
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::EC2::VPCEndpoint" and properties.get("VpcEndpointType") == "Interface":
            total += ENDPOINT_IN_A_ZONE * len(properties["SubnetIds"])
    return total


def _costs(stages: dict[str, Synthesised]) -> str:
    rows = ["| stage | idle, a month | an hour of training on a GPU, On-Demand | on a CPU | an endpoint, an hour |"]
    rows.append("|---|---|---|---|---|")
    for name, stage in stages.items():
        jobs, serving = stage.settings.jobs, stage.settings.serving.instance_type
        idle = sum(_idle(template) for template in stage.templates.values())
        rows.append(
            f"| {name} | ${idle:.2f} | ${jobs.train_gpu.price_per_hour:.3f} | ${jobs.train_cpu.price_per_hour:.4f} | "
            f"{_per_hour(serving)} ({serving}) |"
        )
    cpu = stages["dev"].settings.jobs
    minutes = 10
    run = minutes / 60 * (cpu.train_cpu.price_per_hour + cpu.validation.price_per_hour / 2)
    rows += [
        "",
        f"An example run, `examples/cartpole`, in development: {minutes} minutes of an instance for training and half "
        f"as long for validation, together about ${run:.2f}; functions, states and requests are below a cent. The "
        f"endpoint that it leaves costs {_per_hour(stages['dev'].settings.serving.instance_type)} an hour until it is "
        "deleted.",
        "",
        "| `network.egress` | idle, a month | each GB |",
        "|---|---|---|",
        "| `public` | $0 | $0 |",
        f"| `nat`, one gateway | ${MONTHLY['AWS::EC2::NatGateway']:.2f} | $0.045 |",
        f"| `nat`, one a zone, two zones | ${2 * MONTHLY['AWS::EC2::NatGateway']:.2f} | $0.045 |",
        f"| `endpoints`, six in two zones | ${12 * ENDPOINT_IN_A_ZONE:.2f} | $0.01 |",
        "",
    ]
    return "\n".join(rows)


def _per_hour(instance_type: str) -> str:
    price = SERVING_PER_HOUR.get(instance_type)
    return "price not listed here" if price is None else f"${price:.3f}"


def read(settings: Settings, folder: Path) -> Synthesised:
    """The templates of an assembly, in the order in which `cdk deploy --all` takes them."""
    artifacts = json.loads((folder / "manifest.json").read_text())["artifacts"]
    stacks = {name: it for name, it in artifacts.items() if it["type"] == "aws:cloudformation:stack"}
    templates = {
        name.rpartition("-")[2]: json.loads((folder / it["properties"]["templateFile"]).read_text())
        for name, it in stacks.items()
    }
    return Synthesised(settings=settings, templates=templates)


def main() -> None:
    """Synthesise the stages for an account and write the page."""
    from app import build  # the composition root, which everything else here is below
    from config.toolchain import use_packaged_node

    use_packaged_node()
    import aws_cdk as cdk

    flags = json.loads((ROOT / "cdk.json").read_text())["context"]
    stages = {}
    for name in STAGES:
        with tempfile.TemporaryDirectory() as folder:
            app = cdk.App(outdir=folder, context=flags, analytics_reporting=False)
            settings = load_settings(name)
            build(app, settings, bundle=False)
            app.synth()
            stages[name] = read(settings, Path(folder))
    PAGE.write_text(page(stages), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
