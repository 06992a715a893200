"""Resource types of CloudFormation that the stacks use beyond ministack's own."""

import json
from typing import Any

import pytest

from tests.conformance.account import unique, until
from tests.conformance.embedded import Instance

Template = dict[str, Any]


def template(aws: Instance, word: str, vcpus: int = 4) -> Template:
    resources = {
        "Environment": {
            "Type": "AWS::Batch::ComputeEnvironment",
            "Properties": {
                "Type": "managed",
                "ComputeResources": {"Type": "EC2", "MaxvCpus": vcpus, "InstanceTypes": ["c6i.large"], "Subnets": []},
            },
        },
        "Queue": {
            "Type": "AWS::Batch::JobQueue",
            "Properties": {
                "Priority": 1,
                "ComputeEnvironmentOrder": [
                    {"Order": 1, "ComputeEnvironment": {"Fn::GetAtt": ["Environment", "ComputeEnvironmentArn"]}}
                ],
            },
        },
        "Definition": {
            "Type": "AWS::Batch::JobDefinition",
            "Properties": {
                "Type": "container",
                "ContainerProperties": {
                    "Image": aws.job_image,
                    "Command": ["say", word],
                    "LogConfiguration": {"LogDriver": "awslogs", "Options": {"awslogs-create-group": "true"}},
                },
                "RetryStrategy": {"Attempts": 2, "EvaluateOnExit": [{"Action": "EXIT", "OnReason": "*"}]},
            },
        },
        "Group": {
            "Type": "AWS::SageMaker::ModelPackageGroup",
            "Properties": {"ModelPackageGroupName": unique("group") if word == "one" else None},
        },
        "Address": {"Type": "AWS::EC2::EIP", "Properties": {"Domain": "vpc"}},
        "Nat": {
            "Type": "AWS::EC2::NatGateway",
            "Properties": {"SubnetId": "subnet-1", "AllocationId": {"Fn::GetAtt": ["Address", "AllocationId"]}},
        },
    }
    outputs = {
        "Queue": {"Value": {"Ref": "Queue"}},
        "Definition": {"Value": {"Ref": "Definition"}},
        "Nat": {"Value": {"Ref": "Nat"}},
    }
    return {"Resources": resources, "Outputs": outputs}


def settled(aws: Instance, stack: str) -> dict[str, str]:
    def done() -> dict[str, Any] | None:
        description: dict[str, Any] = aws.templates.describe_stacks(StackName=stack)["Stacks"][0]
        return description if not description["StackStatus"].endswith("IN_PROGRESS") else None

    description = until(done, what=f"stack {stack} settles")
    reasons = aws.templates.describe_stack_events(StackName=stack)["StackEvents"][:5]
    assert description["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), reasons
    return {output["OutputKey"]: output["OutputValue"] for output in description["Outputs"]}


def test_a_stack_of_batch_is_created_updated_and_deleted(aws: Instance) -> None:
    stack = unique("stack")
    first = template(aws, "one")
    aws.templates.create_stack(StackName=stack, TemplateBody=json.dumps(first))
    created = settled(aws, stack)
    assert aws.lines(aws.end(aws.submit(created["Definition"], created["Queue"]))) == ["one"]

    second = template(aws, "two", vcpus=2)
    second["Resources"]["Group"] = first["Resources"]["Group"]
    aws.templates.update_stack(StackName=stack, TemplateBody=json.dumps(second))
    updated = settled(aws, stack)
    assert updated["Queue"] == created["Queue"]
    assert (created["Definition"][-2:], updated["Definition"][-2:]) == (":1", ":2")
    assert aws.lines(aws.end(aws.submit(updated["Definition"], updated["Queue"]))) == ["two"]
    described = aws.batch.describe_job_queues(jobQueues=[updated["Queue"]])["jobQueues"][0]
    environment = described["computeEnvironmentOrder"][0]["computeEnvironment"]
    resources = aws.batch.describe_compute_environments(computeEnvironments=[environment])["computeEnvironments"][0]
    assert resources["computeResources"]["maxvCpus"] == 2

    aws.templates.delete_stack(StackName=stack)
    until(lambda: not aws.batch.describe_job_queues(jobQueues=[created["Queue"]])["jobQueues"], what="it is deleted")


def test_ecr_knows_the_images_of_the_assembly_and_no_others(aws: Instance) -> None:
    ecr, name = aws.client("ecr"), unique("images")
    ecr.create_repository(repositoryName=name)
    tag = aws.job_image.rpartition(":")[2]

    found = ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": tag}])["imageDetails"]

    assert found[0]["imageTags"] == [tag]
    with pytest.raises(ecr.exceptions.ImageNotFoundException, match="does not exist within the repository"):
        ecr.describe_images(repositoryName=name, imageIds=[{"imageTag": "0" * 64}])
