"""What is emptied and deleted with a stage, and how CloudFormation is answered."""

import json
import urllib.request
from typing import Any
from unittest.mock import MagicMock

import pytest

from lambdas.teardown import handler as teardown

ROLE, OTHER = "arn:aws:iam::123456789012:role/ours", "arn:aws:iam::123456789012:role/other"


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What CloudFormation is told."""
    told: list[dict[str, Any]] = []

    def urlopen(request: urllib.request.Request, timeout: float) -> MagicMock:
        assert (request.method, request.full_url) == ("PUT", "https://cloudformation.example/answer")
        assert isinstance(request.data, bytes)
        told.append(json.loads(request.data))
        return MagicMock()

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    return told


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    client = MagicMock()
    client.get_paginator.return_value.paginate.return_value = [
        {"Versions": [{"Key": "a", "VersionId": "1"}], "DeleteMarkers": [{"Key": "a", "VersionId": "2"}]},
        {},
    ]
    client.delete_objects.return_value = {}
    monkeypatch.setattr(teardown, "_s3", client)
    return client


@pytest.fixture
def sagemaker(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """One model of ours and one of somebody else's, each served by an endpoint."""
    lists: dict[str, list[dict[str, Any]]] = {
        "list_models": [{"Models": [{"ModelName": "ours"}, {"ModelName": "other"}]}],
        "list_endpoint_configs": [
            {"EndpointConfigs": [{"EndpointConfigName": "ours"}, {"EndpointConfigName": "other"}]}
        ],
        "list_endpoints": [{"Endpoints": [{"EndpointName": "cartpole"}, {"EndpointName": "theirs"}]}],
        "list_model_packages": [{"ModelPackageSummaryList": [{"ModelPackageArn": "arn:package/1"}]}],
    }
    client = MagicMock()
    client.get_paginator.side_effect = lambda name: MagicMock(paginate=lambda **_: lists[name])
    client.describe_model.side_effect = lambda ModelName: {"ExecutionRoleArn": ROLE if ModelName == "ours" else OTHER}  # noqa: N803
    client.describe_endpoint_config.side_effect = lambda EndpointConfigName: {  # noqa: N803
        "ProductionVariants": [{"ModelName": EndpointConfigName}]
    }
    client.describe_endpoint.side_effect = lambda EndpointName: {  # noqa: N803
        "EndpointConfigName": "ours" if EndpointName == "cartpole" else "other"
    }
    monkeypatch.setattr(teardown, "_sagemaker", client)
    return client


def _request(kind: str, **properties: Any) -> dict[str, Any]:
    return {
        "RequestType": kind,
        "ResponseURL": "https://cloudformation.example/answer",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Teardown",
        "ResourceProperties": properties,
    }


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_nothing_happens_before_the_end(kind: str, s3: MagicMock, answers: list[dict[str, Any]]) -> None:
    teardown.handler(_request(kind, Buckets=["one"]), None)
    assert s3.mock_calls == []
    assert answers[0]["Status"] == "SUCCESS"


def test_every_version_in_every_bucket_is_deleted(s3: MagicMock, answers: list[dict[str, Any]]) -> None:
    teardown.handler(_request("Delete", Buckets=["one", "two"]), None)
    assert [call.kwargs["Bucket"] for call in s3.delete_objects.mock_calls] == ["one", "two"]
    deleted = s3.delete_objects.mock_calls[0].kwargs["Delete"]["Objects"]
    assert deleted == [{"Key": "a", "VersionId": "1"}, {"Key": "a", "VersionId": "2"}]
    assert answers[0]["Status"] == "SUCCESS"


def test_only_what_runs_as_the_stages_own_role_is_deleted(sagemaker: MagicMock, answers: list[dict[str, Any]]) -> None:
    teardown.handler(_request("Delete", ModelRole=ROLE, ModelPackageGroup="rlpipe-dev"), None)
    sagemaker.delete_endpoint.assert_called_once_with(EndpointName="cartpole")
    sagemaker.delete_endpoint_config.assert_called_once_with(EndpointConfigName="ours")
    sagemaker.delete_model.assert_called_once_with(ModelName="ours")
    sagemaker.delete_model_package.assert_called_once_with(ModelPackageName="arn:package/1")
    assert answers == [
        {
            "Status": "SUCCESS",
            "PhysicalResourceId": "Teardown",
            "StackId": "stack",
            "RequestId": "request",
            "LogicalResourceId": "Teardown",
        }
    ]


def test_services_are_deleted_with_what_the_load_balancer_knows_of_them(
    answers: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    ecs, balancing = MagicMock(), MagicMock()
    ecs.get_paginator.return_value.paginate.return_value = [{"serviceArns": ["arn:service/c/a"]}, {"serviceArns": []}]
    weights = {"TargetGroups": [{"TargetGroupArn": "a"}, {"TargetGroupArn": "b"}]}
    rules = [
        {"RuleArn": "default", "IsDefault": True, "Actions": [{"Type": "fixed-response"}]},
        {"RuleArn": "of-a", "IsDefault": False, "Actions": [{"Type": "forward", "ForwardConfig": weights}]},
    ]
    balancing.get_paginator.return_value.paginate.return_value = [{"Rules": rules}]
    monkeypatch.setattr(teardown, "_ecs", ecs)
    monkeypatch.setattr(teardown, "_balancing", balancing)
    teardown.handler(_request("Delete", Cluster="c", Listener="l"), None)
    ecs.delete_service.assert_called_once_with(cluster="c", service="arn:service/c/a", force=True)
    balancing.delete_rule.assert_called_once_with(RuleArn="of-a")
    assert [call.kwargs["TargetGroupArn"] for call in balancing.delete_target_group.mock_calls] == ["a", "b"]
    assert answers[0]["Status"] == "SUCCESS"


def test_cloudformation_is_told_what_went_wrong(s3: MagicMock, answers: list[dict[str, Any]]) -> None:
    s3.delete_objects.return_value = {"Errors": [{"Key": "a", "Message": "locked"}]}
    teardown.handler(_request("Delete", Buckets=["one"]), None)
    assert answers[0]["Status"] == "FAILED"
    assert answers[0]["Reason"] == "RuntimeError: one: a: locked"


def test_an_answer_names_the_resource_that_it_is_about(s3: MagicMock, answers: list[dict[str, Any]]) -> None:
    teardown.handler({**_request("Delete", Buckets=[]), "PhysicalResourceId": "kept"}, None)
    assert answers[0]["PhysicalResourceId"] == "kept"
