"""A real account. What is made in it carries this session's number and is removed at the end.

Jobs run on Fargate in the default VPC, from Python's public image. A serving image must lie in the account's ECR:
`RLPIPE_CONFORMANCE_SERVING_IMAGE` names it (see `images.SERVER`); without it what needs an endpoint is skipped.
"""

import os
import time
from functools import cached_property
from typing import Any

import boto3
import pytest

from tests.conformance import images
from tests.conformance.account import Account, unique

IMAGE_VARIABLE = "RLPIPE_CONFORMANCE_SERVING_IMAGE"
_PYTHON = "public.ecr.aws/docker/library/python:3.12-slim"
_INSTALL = 'pip install --quiet boto3 && exec python -c "$0" "$@"'
_MEMORY_PER_VCPU = 2048


class RealAccount(Account):
    """The account of the credentials that boto3 finds."""

    patience = 900.0

    def __init__(self, account_id: str) -> None:
        """Raises pytest.UsageError when the credentials are of another account than the one that was named."""
        super().__init__()
        session = boto3.Session()
        self.region = session.region_name or self.region
        found = session.client("sts", region_name=self.region).get_caller_identity()["Account"]
        if found != account_id:
            raise pytest.UsageError(f"--aws: the credentials are of the account {found}; given: {account_id}")
        self.account_id = found

    def client(self, service: str) -> Any:
        return self._client(service)

    def role_is_made(self) -> None:
        time.sleep(15)  # IAM is eventually consistent, and nothing says when a new role is known everywhere

    def job_container(self, *command: str) -> dict[str, Any]:
        return {
            "image": _PYTHON,
            "command": ["sh", "-c", _INSTALL, images.JOB, *command],
            "executionRoleArn": self.role("jobs"),
            "networkConfiguration": {"assignPublicIp": "ENABLED"},
            "resourceRequirements": [{"type": "VCPU", "value": "1"}, {"type": "MEMORY", "value": "2048"}],
            "logConfiguration": {"logDriver": "awslogs", "options": {}},
        }

    def definition(self, *command: str, container: dict[str, Any] | None = None, **settings: Any) -> str:
        needs = {item["type"]: item["value"] for item in (container or {}).get("resourceRequirements", [])}
        if "VCPU" in needs and "MEMORY" not in needs:
            memory = {"type": "MEMORY", "value": str(int(needs["VCPU"]) * _MEMORY_PER_VCPU)}
            container = {**(container or {}), "resourceRequirements": [*container["resourceRequirements"], memory]}  # type: ignore[index]
        return super().definition(*command, container=container, platformCapabilities=["FARGATE"], **settings)

    @property
    def serving_image(self) -> str:
        if IMAGE_VARIABLE not in os.environ:
            pytest.skip(f"{IMAGE_VARIABLE} names no image")
        return os.environ[IMAGE_VARIABLE]

    @cached_property
    def _network(self) -> dict[str, list[str]]:
        ec2 = self.client("ec2")
        vpc = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"][0]["VpcId"]
        in_vpc = {"Name": "vpc-id", "Values": [vpc]}
        subnets = ec2.describe_subnets(Filters=[in_vpc])["Subnets"]
        groups = ec2.describe_security_groups(Filters=[in_vpc, {"Name": "group-name", "Values": ["default"]}])
        return {
            "subnets": [subnet["SubnetId"] for subnet in subnets],
            "securityGroupIds": [group["GroupId"] for group in groups["SecurityGroups"]],
        }

    def environment(self, **resources: Any) -> str:
        arn: str = self.batch.create_compute_environment(
            computeEnvironmentName=unique("environment"),
            type="MANAGED",
            computeResources={"type": "FARGATE", "maxvCpus": 64, **self._network, **resources},
        )["computeEnvironmentArn"]
        self.made(lambda: self._delete_environment(arn))

        def valid() -> bool:
            [found] = self.batch.describe_compute_environments(computeEnvironments=[arn])["computeEnvironments"]
            return bool(found["status"] == "VALID")

        self.until(valid, what="the compute environment is there")
        return arn

    def _delete_environment(self, arn: str) -> None:
        self.batch.update_compute_environment(computeEnvironment=arn, state="DISABLED")

        def found() -> list[dict[str, Any]]:
            answer: list[dict[str, Any]] = self.batch.describe_compute_environments(computeEnvironments=[arn])[
                "computeEnvironments"
            ]
            return answer

        self.until(lambda: found()[0]["status"] == "VALID", what="the compute environment is disabled")
        self.batch.delete_compute_environment(computeEnvironment=arn)
        self.until(lambda: not found(), what="the compute environment is gone")

    def api_url(self, api_id: str, stage: str) -> str:
        return f"https://{api_id}.execute-api.{self.region}.amazonaws.com/{stage}"
