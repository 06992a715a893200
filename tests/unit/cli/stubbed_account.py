"""An AWS account whose every answer is made up, and whose every call is checked against AWS's own API models."""

# ruff: noqa: N803 - the arguments are named as AWS names them

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import botocore.session
from botocore.validate import validate_parameters

from tests.unit.cli.fake_aws import refusal

ACCOUNT, REGION = "123456789012", "eu-west-1"
_ECR = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/assets"
_SESSION = botocore.session.Session()


def arn(service: str, rest: str) -> str:
    return f"arn:aws:{service}:{REGION}:{ACCOUNT}:{rest}"


class StubbedAccount:
    """All is well in it; a test changes what it is about."""

    def __init__(self) -> None:
        self.identity = {"Account": ACCOUNT, "Arn": arn("iam", "user/ada"), "UserId": "AIDA"}
        self.opted_in = "opt-in-not-required"
        self.bootstrap: str | None = "27"
        self.stacks = dict.fromkeys(
            ("alerts", "api", "compute", "events", "network", "pipeline", "runs", "serving", "storage"),
            "UPDATE_COMPLETE",
        )
        self.stage = "dev"
        self.quotas = {"L-DB2E81BA": 16.0, "L-3819A6DF": 16.0, "L-1216C47A": 64.0, "L-34B43A08": 64.0}
        self.unchanged_quotas: set[str] = set()
        """Those that only AWS's defaults know."""
        self.zones = ["eu-west-1a", "eu-west-1b", "eu-west-1c"]
        self.missing_offers: set[tuple[str, str]] = set()
        self.spot_role = True
        self.images = {"training", "serving"}
        self.endpoint_quota: float | None = 4.0
        self.endpoints = {"cartpole": "ml.t2.medium", "other": "ml.m5.large"}
        self.prices: dict[str, float] = {"ml.t2.medium": 0.056, "g5.xlarge": 1.006, "m7i.xlarge": 0.2016}
        self.queue_state, self.environment_status, self.environment_reason = "ENABLED", "VALID", "healthy"
        self.waiting: list[dict[str, Any]] = []
        self.api: tuple[int, dict[str, Any]] = (200, {"runs": [], "next": None})
        self.denied: set[str] = set()
        """Operations, as boto3 calls them, that the caller may not use."""

    def client(self, service: str) -> "StubbedClient":
        return StubbedClient(self, service)

    # --- answers, by operation ----------------------------------------------------------------------------------------

    def get_caller_identity(self) -> Any:
        return self.identity

    def describe_regions(self, **_: Any) -> Any:
        return {"Regions": [{"RegionName": REGION, "OptInStatus": self.opted_in}]}

    def get_parameter(self, *, Name: str) -> Any:
        assert Name == "/cdk-bootstrap/hnb659fds/version"
        if self.bootstrap is None:
            raise refusal("ParameterNotFound", "GetParameter")
        return {"Parameter": {"Name": Name, "Value": self.bootstrap}}

    def describe_stacks(self) -> Any:
        outputs = {
            "pipeline": {"StateMachineArn": arn("states", "stateMachine:rlpipe-dev-pipeline-StateMachine")},
            "api": {"ApiUrl": f"https://abcdef1234.execute-api.{REGION}.amazonaws.com/v1/"},
        }
        at = datetime(2026, 1, 1, tzinfo=UTC)
        stacks = [
            {
                "StackName": f"rlpipe-{self.stage}-{room}",
                "StackStatus": status,
                "CreationTime": at,
                "Outputs": [{"OutputKey": k, "OutputValue": v} for k, v in outputs.get(room, {}).items()],
            }
            for room, status in self.stacks.items()
        ]
        return {"Stacks": [*stacks, {"StackName": "CDKToolkit", "StackStatus": "CREATE_COMPLETE", "CreationTime": at}]}

    def describe_state_machine(self, *, stateMachineArn: str) -> Any:
        named = [arn("batch", f"job-queue/{name}") for name in ("Cpu", "CpuSpot", "Gpu", "GpuSpot")]
        named += [arn("batch", f"job-definition/{name}:3") for name in ("TrainCpu", "TrainGpu", "Validate")]
        named.append(f"{_ECR}:{'5' * 64}")
        definition = json.dumps({"States": {"Train": {"Arguments": "', '".join(named)}}})
        return {
            "stateMachineArn": stateMachineArn,
            "name": "pipeline",
            "definition": definition,
            "roleArn": "arn:aws:iam::123456789012:role/states",
            "type": "STANDARD",
            "creationDate": datetime(2026, 1, 1, tzinfo=UTC),
        }

    def get_service_quota(self, *, ServiceCode: str, QuotaCode: str) -> Any:
        if QuotaCode in self.unchanged_quotas:
            raise refusal("NoSuchResourceException", "GetServiceQuota")
        return {"Quota": {"QuotaCode": QuotaCode, "Value": self.quotas[QuotaCode]}}

    def get_aws_default_service_quota(self, *, ServiceCode: str, QuotaCode: str) -> Any:
        return {"Quota": {"QuotaCode": QuotaCode, "Value": self.quotas[QuotaCode]}}

    def list_service_quotas(self, *, ServiceCode: str) -> Any:
        return {"Quotas": [{"QuotaName": "ml.g5.xlarge for endpoint usage", "QuotaCode": "L-0", "Value": 0.0}]}

    def list_aws_default_service_quotas(self, *, ServiceCode: str) -> Any:
        name = "ml.t2.medium for endpoint usage"
        known = self.endpoint_quota is not None
        return {"Quotas": [{"QuotaName": name, "QuotaCode": "L-1", "Value": self.endpoint_quota}] if known else []}

    def describe_availability_zones(self, **_: Any) -> Any:
        return {"AvailabilityZones": [{"ZoneName": zone, "State": "available"} for zone in self.zones]}

    def describe_subnets(self, *, SubnetIds: list[str]) -> Any:
        zones = zip(SubnetIds, self.zones, strict=False)
        return {"Subnets": [{"SubnetId": subnet, "AvailabilityZone": zone} for subnet, zone in zones]}

    def describe_instance_type_offerings(self, *, LocationType: str, Filters: list[dict[str, Any]]) -> Any:
        (types,) = [entry["Values"] for entry in Filters if entry["Name"] == "instance-type"]
        offers = [(type_, zone) for type_ in types for zone in self.zones if (type_, zone) not in self.missing_offers]
        return {"InstanceTypeOfferings": [{"InstanceType": type_, "Location": zone} for type_, zone in offers]}

    def get_role(self, *, RoleName: str) -> Any:
        if not self.spot_role:
            raise refusal("NoSuchEntity", "GetRole")
        at = datetime(2026, 1, 1, tzinfo=UTC)
        role_arn = f"arn:aws:iam::{ACCOUNT}:role/{RoleName}"
        return {"Role": {"Path": "/", "RoleName": RoleName, "RoleId": "AROA" * 4, "Arn": role_arn, "CreateDate": at}}

    def describe_job_queues(self, *, jobQueues: list[str]) -> Any:
        return {
            "jobQueues": [
                {
                    "jobQueueName": queue.rpartition("/")[2],
                    "jobQueueArn": queue,
                    "state": self.queue_state,
                    "status": "VALID",
                    "priority": 1,
                    "computeEnvironmentOrder": [{"order": 1, "computeEnvironment": queue.replace("-queue", "-env")}],
                }
                for queue in jobQueues
            ]
        }

    def describe_compute_environments(self, *, computeEnvironments: list[str]) -> Any:
        return {
            "computeEnvironments": [
                {
                    "computeEnvironmentName": it.rpartition("/")[2],
                    "computeEnvironmentArn": it,
                    "state": "ENABLED",
                    "status": self.environment_status,
                    "statusReason": self.environment_reason,
                    "computeResources": {"type": "EC2", "maxvCpus": 16, "subnets": ["subnet-1", "subnet-2"]},
                }
                for it in computeEnvironments
            ]
        }

    def list_jobs(self, *, jobQueue: str, jobStatus: str) -> Any:
        return {"jobSummaryList": self.waiting if jobQueue.endswith("/Gpu") else []}

    def describe_job_definitions(self, *, jobDefinitions: list[str]) -> Any:
        image = f"{_ECR}:{'7' * 64}"
        return {
            "jobDefinitions": [
                {
                    "jobDefinitionName": "n",
                    "jobDefinitionArn": it,
                    "revision": 3,
                    "type": "container",
                    "containerProperties": {"image": image},
                }
                for it in jobDefinitions
            ]
        }

    def describe_images(self, *, registryId: str, repositoryName: str, imageIds: list[dict[str, str]]) -> Any:
        assert (registryId, repositoryName) == (ACCOUNT, "assets")
        (image,) = imageIds
        if {"7": "training", "5": "serving"}[image["imageTag"][0]] not in self.images:
            raise refusal("ImageNotFoundException", "DescribeImages")
        return {"imageDetails": [{"repositoryName": repositoryName, "imageTags": [image["imageTag"]]}]}

    def list_endpoints(self) -> Any:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return {
            "Endpoints": [
                {
                    "EndpointName": name,
                    "EndpointArn": arn("sagemaker", f"endpoint/{name}"),
                    "CreationTime": at,
                    "LastModifiedTime": at,
                    "EndpointStatus": "InService",
                }
                for name in self.endpoints
            ]
        }

    def describe_endpoint(self, *, EndpointName: str) -> Any:
        at = datetime(2026, 1, 1, tzinfo=UTC)
        return {
            "EndpointName": EndpointName,
            "EndpointArn": arn("sagemaker", f"endpoint/{EndpointName}"),
            "EndpointConfigName": EndpointName,
            "EndpointStatus": "InService",
            "CreationTime": at,
            "LastModifiedTime": at,
        }

    def describe_endpoint_config(self, *, EndpointConfigName: str) -> Any:
        variant = {
            "VariantName": "policy",
            "InstanceType": self.endpoints[EndpointConfigName],
            "InitialInstanceCount": 1,
        }
        return {
            "EndpointConfigName": EndpointConfigName,
            "EndpointConfigArn": arn("sagemaker", f"endpoint-config/{EndpointConfigName}"),
            "ProductionVariants": [variant],
            "CreationTime": datetime(2026, 1, 1, tzinfo=UTC),
        }

    def get_products(self, *, ServiceCode: str, Filters: list[dict[str, str]], MaxResults: int) -> Any:
        asked = {entry["Field"]: entry["Value"] for entry in Filters}
        type_ = asked["instanceType" if ServiceCode == "AmazonEC2" else "instanceName"]
        assert asked["regionCode"] == REGION
        if type_ not in self.prices:
            return {"PriceList": []}
        free = {"unit": "Hrs", "pricePerUnit": {"USD": "0.0000000000"}}
        hourly = {"unit": "Hrs", "pricePerUnit": {"USD": str(self.prices[type_])}}
        offer = {"priceDimensions": {"a.b.c": free, "a.b.d": hourly}}
        return {"PriceList": [json.dumps({"product": {}, "terms": {"OnDemand": {"a.b": offer}}})]}

    # --- the pipeline's own API ---------------------------------------------------------------------------------------

    def request(self, method: str, path: str, **_: Any) -> tuple[int, dict[str, Any]]:
        assert (method, path) == ("GET", "/runs")
        return self.api


class StubbedClient:
    def __init__(self, account: StubbedAccount, service: str) -> None:
        self._account = account
        self._service = service

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            name = _name(operation)
            model = _SESSION.get_service_model(self._service).operation_model(name)
            validate_parameters(request, model.input_shape)
            if operation in self._account.denied:
                raise refusal("AccessDeniedException", name, status=403)
            answer = getattr(self._account, operation)(**request)
            validate_parameters(answer, model.output_shape)
            return answer

        return call

    def get_paginator(self, operation: str) -> "_Paginator":
        assert _SESSION.get_paginator_model(self._service).get_paginator(_name(operation))
        return _Paginator(getattr(self, operation))


class _Paginator:
    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def paginate(self, **request: Any) -> Iterator[Any]:
        yield self._call(**request)


def _name(operation: str) -> str:
    return "".join(part.title() for part in operation.split("_")).replace("Aws", "AWS")
