"""CloudFormation resource types that ministack lacks, and functions that are warm once they are deployed.

https://docs.aws.amazon.com/AWSCloudFormation/latest/TemplateReference/aws-template-resource-type-ref.html
"""

import secrets
from collections.abc import Callable
from typing import Any

from embedded_aws import hooks
from embedded_aws.casing import lower_first
from embedded_aws.clients import s3
from embedded_aws.compute.batch import Batch, BatchError
from embedded_aws.hosting.sagemaker import SageMaker, SageMakerError
from embedded_aws.settings import Settings

_Properties = dict[str, Any]
_Created = tuple[str, dict[str, str]]


def register(settings: Settings, batch: Batch, sagemaker: SageMaker) -> None:
    """Add the missing resource types."""
    handlers = hooks.resource_handlers()
    handlers.update(_batch_types(batch))
    handlers["AWS::SageMaker::ModelPackageGroup"] = _package_group(sagemaker)
    handlers["AWS::EC2::EIP"] = {"create": _create_address, "delete": lambda name, _: _release_address(name)}
    handlers["AWS::EC2::NatGateway"] = {
        "create": _create_nat_gateway,
        "delete": lambda name, _: hooks.ec2_nat_gateways().pop(name, None),
    }
    # Jobs are processes of this machine, and nobody else can call: there is nothing to log and nobody to keep out.
    for without_effect in (
        "AWS::EC2::FlowLog",
        "AWS::EC2::SecurityGroupEgress",
        "AWS::EC2::SecurityGroupIngress",
        "AWS::WAFv2::WebACLAssociation",
    ):
        handlers[without_effect] = {
            "create": lambda logical_id, properties, stack: (f"{logical_id}-{secrets.token_hex(8)}", {}),
            "update": lambda name, old, new, stack: (name, {}),
            "delete": lambda name, properties: None,
        }
    # CDK's own handler for this type is a Node.js function with the AWS SDK; emptying the bucket needs neither.
    handlers["Custom::S3AutoDeleteObjects"] = {
        "create": lambda logical_id, properties, stack: (f"{stack}-{logical_id}", {}),
        "update": lambda name, old, new, stack: (name, {}),
        "delete": lambda name, properties: _empty_bucket(settings, properties["BucketName"]),
    }
    _warm_up_functions(handlers["AWS::Lambda::Function"])


def _batch_types(batch: Batch) -> dict[str, dict[str, Callable[..., Any]]]:
    def call(operation: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            return batch.call(operation, request)
        except BatchError as error:
            raise ValueError(str(error)) from None

    def create_environment(logical_id: str, properties: _Properties, stack: str) -> _Created:
        name = properties.get("ComputeEnvironmentName") or hooks.physical_name(stack, logical_id, 128)
        answer = call("CreateComputeEnvironment", {**_numbers(lower_first(properties)), "computeEnvironmentName": name})
        return answer["computeEnvironmentArn"], {"ComputeEnvironmentArn": answer["computeEnvironmentArn"]}

    def update_environment(arn: str, old: _Properties, new: _Properties, stack: str) -> _Created:
        call("UpdateComputeEnvironment", {**_numbers(lower_first(new)), "computeEnvironment": arn})
        return arn, {"ComputeEnvironmentArn": arn}

    def create_queue(logical_id: str, properties: _Properties, stack: str) -> _Created:
        name = properties.get("JobQueueName") or hooks.physical_name(stack, logical_id, 128)
        answer = call("CreateJobQueue", {**lower_first(properties), "jobQueueName": name})
        return answer["jobQueueArn"], {"JobQueueArn": answer["jobQueueArn"]}

    def update_queue(arn: str, old: _Properties, new: _Properties, stack: str) -> _Created:
        call("UpdateJobQueue", {**lower_first(new), "jobQueue": arn})
        return arn, {"JobQueueArn": arn}

    def register_definition(logical_id: str, properties: _Properties, stack: str) -> _Created:
        name = properties.get("JobDefinitionName") or hooks.physical_name(stack, logical_id, 128)
        answer = call("RegisterJobDefinition", {**lower_first(properties), "jobDefinitionName": name})
        return answer["jobDefinitionArn"], {"JobDefinitionArn": answer["jobDefinitionArn"]}

    def new_revision(arn: str, old: _Properties, new: _Properties, stack: str) -> _Created:
        """A changed job definition is a new revision of it; the one before is deregistered."""
        name = arn.rpartition("/")[2].partition(":")[0]
        answer = call("RegisterJobDefinition", {**lower_first(new), "jobDefinitionName": name})
        call("DeregisterJobDefinition", {"jobDefinition": arn})
        return answer["jobDefinitionArn"], {"JobDefinitionArn": answer["jobDefinitionArn"]}

    def delete_definition(arn: str, properties: _Properties) -> None:
        call("DeregisterJobDefinition", {"jobDefinition": arn})

    return {
        "AWS::Batch::ComputeEnvironment": {
            "create": create_environment,
            "update": update_environment,
            "delete": lambda arn, _: call("DeleteComputeEnvironment", {"computeEnvironment": arn}),
        },
        "AWS::Batch::JobQueue": {
            "create": create_queue,
            "update": update_queue,
            "delete": lambda arn, _: call("DeleteJobQueue", {"jobQueue": arn}),
        },
        "AWS::Batch::JobDefinition": {
            "create": register_definition,
            "update": new_revision,
            "delete": delete_definition,
        },
    }


def _numbers(environment: dict[str, Any]) -> dict[str, Any]:
    """A compute environment whose numbers of vCPUs are numbers; a template may hold them as text."""
    resources = environment.get("computeResources") or {}
    counted = {name: int(value) if name.endswith("vCpus") else value for name, value in resources.items()}
    return {**environment, "computeResources": counted}


def _package_group(sagemaker: SageMaker) -> dict[str, Callable[..., Any]]:
    def create(logical_id: str, properties: _Properties, stack: str) -> _Created:
        try:
            arn = sagemaker.call("CreateModelPackageGroup", properties)["ModelPackageGroupArn"]
        except SageMakerError as error:
            raise ValueError(str(error)) from None
        return arn, _group_attributes(arn)

    def delete(arn: str, properties: _Properties) -> None:
        for package in sagemaker.call("ListModelPackages", {"ModelPackageGroupName": arn, "MaxResults": 10_000})[
            "ModelPackageSummaryList"
        ]:
            sagemaker.call("DeleteModelPackage", {"ModelPackageName": package["ModelPackageArn"]})
        sagemaker.call("DeleteModelPackageGroup", {"ModelPackageGroupName": arn})

    return {"create": create, "update": lambda arn, old, new, stack: (arn, _group_attributes(arn)), "delete": delete}


def _group_attributes(arn: str) -> dict[str, str]:
    return {"ModelPackageGroupArn": arn, "ModelPackageGroupStatus": "Completed"}


def _create_address(logical_id: str, properties: _Properties, stack: str) -> _Created:
    allocation = f"eipalloc-{secrets.token_hex(8)}"
    address = f"198.51.100.{secrets.randbelow(254) + 1}"  # a block that is reserved for documentation
    hooks.ec2_addresses()[allocation] = {
        "AllocationId": allocation,
        "PublicIp": address,
        "Domain": properties.get("Domain", "vpc"),
        "AssociationId": None,
        "InstanceId": None,
        "NetworkInterfaceId": None,
        "PrivateIpAddress": None,
    }
    return address, {"AllocationId": allocation, "PublicIp": address}


def _release_address(address: str) -> None:
    addresses = hooks.ec2_addresses()
    for allocation in [key for key, item in addresses.items() if item["PublicIp"] == address]:
        del addresses[allocation]


def _create_nat_gateway(logical_id: str, properties: _Properties, stack: str) -> _Created:
    name = f"nat-{secrets.token_hex(8)}"
    hooks.ec2_nat_gateways()[name] = {
        "NatGatewayId": name,
        "SubnetId": properties["SubnetId"],
        "VpcId": properties.get("VpcId", ""),
        "AllocationId": properties.get("AllocationId", ""),
        "ConnectivityType": properties.get("ConnectivityType", "public"),
        "State": "available",
        "CreateTime": "1970-01-01T00:00:00Z",
        "Tags": properties.get("Tags", []),
    }
    return name, {"NatGatewayId": name}


def _empty_bucket(settings: Settings, bucket: str) -> None:
    client = s3(settings.endpoint_url)
    for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            client.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])


def _warm_up_functions(handler: dict[str, Callable[..., Any]]) -> None:
    """Deployed functions have one process ready, as with provisioned concurrency."""
    for operation in ("create", "update"):
        provision = handler[operation]

        def provision_and_warm_up(
            *args: Any, _provision: Callable[..., _Created] = provision, _operation: str = operation
        ) -> _Created:
            created = _provision(*args)
            properties = args[1] if _operation == "create" else args[2]
            # ministack's own handler does not know them.
            hooks.set_dead_letters(created[0], (properties.get("DeadLetterConfig") or {}).get("TargetArn"))
            hooks.warm_up_function(created[0])
            return created

        handler[operation] = provision_and_warm_up
