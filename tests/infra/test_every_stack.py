"""What holds for every stack of every stage."""

import json
import tarfile
from pathlib import Path
from typing import Any

import aws_cdk

from tests.infra.conftest import ROOMS, ROOT, Stage

# What the laptop and its users read by name.
OUTPUTS = {"storage": {"InputBucketName", "ArtifactsBucketName"}, "pipeline": {"StateMachineArn"}, "api": {"ApiUrl"}}

DATA = {"AWS::S3::Bucket", "AWS::DynamoDB::Table", "AWS::Logs::LogGroup", "AWS::SageMaker::ModelPackageGroup"}

# CloudFormation replaces a resource by creating a second one first, which a fixed name forbids. A model package
# group must have a name; it is never replaced.
NAMES = {
    *("BucketName", "TopicName", "QueueName", "RoleName", "LogGroupName", "StateMachineName", "LaunchTemplateName"),
    *(
        "ComputeEnvironmentName",
        "JobQueueName",
        "JobDefinitionName",
        "FunctionName",
        "InstanceProfileName",
        "GroupName",
    ),
}

# Whose properties of these names are of another resource.
NAMES_ANOTHER = {"AWS::Lambda::Permission", "AWS::Lambda::EventSourceMapping", "AWS::EC2::FlowLog"}


def test_each_room_is_one_stack_named_after_its_stage(stage: Stage) -> None:
    names = {path.name.removesuffix(".template.json") for path in stage.folder.glob("*.template.json")}
    assert names == {f"rlpipe-{stage.settings.stage}-{room}" for room in ROOMS}


def test_what_users_need_is_an_output(stage: Stage) -> None:
    for room, expected in OUTPUTS.items():
        assert expected <= set(stage.templates[room]["Outputs"])


def test_no_resource_that_may_be_replaced_has_a_physical_name(stage: Stage) -> None:
    named = [
        f"{room}/{name}.{key}"
        for room, template in stage.templates.items()
        for name, resource in template["Resources"].items()
        for key in resource.get("Properties", {})
        if key in NAMES and resource["Type"] not in NAMES_ANOTHER
    ]
    assert named == []


def test_the_only_custom_resource_is_the_teardown_and_brings_no_function_of_the_cdk(stage: Stage) -> None:
    types = {resource["Type"] for template in stage.templates.values() for resource in template["Resources"].values()}
    custom = {kind for kind in types if kind.startswith("Custom::") or "CustomResource" in kind}
    assert custom == ({"Custom::Teardown"} if stage.settings.empty_on_destroy else set())
    handlers = {function["Handler"] for function in stage.resources("AWS::Lambda::Function").values()}
    assert all(handler.startswith("lambdas.") for handler in handlers)


def test_only_a_protected_stage_keeps_its_data_and_refuses_deletion(stages: dict[str, Stage]) -> None:
    for name, kept in {"local": "Delete", "dev": "Delete", "prod": "Retain"}.items():
        for template in stages[name].templates.values():
            for resource in template["Resources"].values():
                if resource["Type"] in DATA:
                    assert resource["DeletionPolicy"] == kept
                    assert resource["UpdateReplacePolicy"] == kept
        protected = {
            artifact["properties"].get("terminationProtection", False)
            for artifact in json.loads((stages[name].folder / "manifest.json").read_text())["artifacts"].values()
            if artifact["type"] == "aws:cloudformation:stack"
        }
        assert protected == {name == "prod"}


def test_every_log_ends_one_day(stage: Stage) -> None:
    groups = stage.resources("AWS::Logs::LogGroup")
    functions = stage.resources("AWS::Lambda::Function").values()
    assert {function["LoggingConfig"]["LogGroup"]["Ref"] for function in functions} < set(groups)
    # And those of the jobs, the state machine and the API's callers, and of tasks on ECS.
    others = 3 + stage.settings.network.flow_logs + (stage.settings.serving.ecs is not None)
    assert len(groups) == len(functions) + others
    assert {group["RetentionInDays"] for group in groups.values()} == {stage.settings.log_retention_days}


def test_nothing_that_a_deployment_may_replace_crosses_a_stack_border(stage: Stage) -> None:
    """A consumer is not told when a value changes (`Fn::GetStackOutput`), so it would go on with the old one."""
    stable = {
        "AWS::DynamoDB::Table",
        "AWS::Logs::LogGroup",
        "AWS::S3::Bucket",
        "AWS::SNS::Topic",
        "AWS::IAM::Role",
        "AWS::Lambda::Function",
        "AWS::StepFunctions::StateMachine",
        "AWS::Batch::JobQueue",
        "AWS::EC2::VPC",
        "AWS::EC2::Subnet",
        # Of these a new scheme, type or description makes another one, and no setting has a say in them.
        "AWS::EC2::SecurityGroup",
        "AWS::ECS::Cluster",
        "AWS::ElasticLoadBalancingV2::Listener",
        "AWS::ElasticLoadBalancingV2::LoadBalancer",
    }
    crossing = {
        (room, output["OutputName"])
        for template in stage.templates.values()
        for output in _occurrences(template, "Fn::GetStackOutput")
        for room in [output["StackName"].rsplit("-", 1)[-1]]
    }
    assert crossing
    for room, name in crossing:
        value = stage.templates[room]["Outputs"][name]["Value"]
        logical_id = value.get("Ref") or value["Fn::GetAtt"][0]
        assert stage.templates[room]["Resources"][logical_id]["Type"] in stable


def test_flags_are_those_the_pinned_cdk_recommends() -> None:
    [package] = Path(aws_cdk.__file__).parent.glob("_jsii/aws-cdk-lib@*.tgz")
    with tarfile.open(package) as archive:
        # Not by its name, which would read the whole archive first.
        member = next(it for it in archive if it.name == "package/recommended-feature-flags.json")
        file = archive.extractfile(member)
        assert file is not None
        recommended = json.load(file)
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    assert context.pop("stage") == "local"
    assert {key: context[key] for key in recommended} == recommended
    # What `cdk init` writes beyond the flags.
    assert set(context) - set(recommended) <= {"@aws-cdk/core:target-partitions"}


def _occurrences(value: Any, key: str) -> list[Any]:
    if isinstance(value, list):
        return [found for item in value for found in _occurrences(item, key)]
    if isinstance(value, dict):
        return [
            *([value[key]] if key in value else []),
            *(f for item in value.values() for f in _occurrences(item, key)),
        ]
    return []
