"""What services on ECS are told and asked, call by call."""

import json
from datetime import UTC, datetime
from typing import Any
from unittest.mock import MagicMock

import pytest

from contract.run import DeploySection
from lambdas.endpoints import alarms, scaling, services

CLUSTER, RUN, BEFORE = "stage", "cartpole-222222222222", "cartpole-111111111111"
LISTENER = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener/app/stage/50dc6c495c0c9188/f2f7dc8efc522ab2"
GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{}/73e2d6bc24d8a067"
PLACE = {
    "cluster": CLUSTER,
    "listener_arn": LISTENER,
    "vpc": "vpc-1",
    "subnets": ["subnet-1", "subnet-2"],
    "public": False,
    "security_group": "sg-1",
    "log_group": "log",
    "execution_role_arn": "arn:execution",
    "task_role_arn": "arn:task",
    "balancing_role_arn": "arn:balancing",
    "cpu": 256,
    "memory_mib": 512,
    "tasks": 2,
    "max_tasks": 4,
    "cpu_percent": 60,
}


def definition(run_id: str) -> str:
    return f"arn:aws:ecs:eu-west-1:123456789012:task-definition/{run_id}:3"


class Ecs(MagicMock):
    """ECS with what a test puts into it."""

    services: dict[str, dict[str, Any]]
    deployments: list[dict[str, Any]]


@pytest.fixture
def ecs(monkeypatch: pytest.MonkeyPatch) -> Ecs:
    monkeypatch.setenv("SERVICES", json.dumps(PLACE))
    monkeypatch.setenv("RLPIPE_STAGE", "dev")
    services.place.cache_clear()
    client = Ecs(services={}, deployments=[])
    client.describe_services.side_effect = lambda cluster, services: {
        "services": [client.services[name] for name in services if name in client.services]
    }
    client.list_service_deployments.side_effect = lambda **_: {"serviceDeployments": client.deployments}
    client.describe_service_deployments.side_effect = lambda **_: {
        "serviceDeployments": [{"rollback": {"serviceRevisionArn": f"revision/{BEFORE}"}}]
    }
    client.describe_service_revisions.side_effect = lambda serviceRevisionArns: {  # noqa: N803
        "serviceRevisions": [{"taskDefinition": definition(serviceRevisionArns[0].rpartition("/")[2])}]
    }
    pages = {
        "list_services": lambda **_: [{"serviceArns": [f"arn:service/{CLUSTER}/{name}" for name in client.services]}],
        "list_task_definitions": lambda familyPrefix: [  # noqa: N803
            {"taskDefinitionArns": [definition(familyPrefix), definition(f"{familyPrefix}-longer")]}
        ],
    }
    client.get_paginator.side_effect = lambda name: MagicMock(paginate=pages[name])
    monkeypatch.setattr(services, "_ecs", client)
    return client


@pytest.fixture
def balancing(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    """A load balancer whose rules are a list, with a default one in it."""
    client = MagicMock()
    client.rules = [{"RuleArn": "default", "Priority": "default", "Conditions": [], "Actions": [], "IsDefault": True}]
    client.groups = {}
    client.exceptions.TargetGroupNotFoundException = KeyError
    client.describe_target_groups.side_effect = lambda Names: {  # noqa: N803
        "TargetGroups": [{"TargetGroupArn": client.groups[name]} for name in Names]
    }
    client.get_paginator.return_value.paginate.side_effect = lambda **_: [{"Rules": client.rules}]

    def create_group(Name: str, **_: Any) -> dict[str, Any]:  # noqa: N803
        client.groups[Name] = GROUP.format(Name)
        return {"TargetGroups": [{"TargetGroupArn": client.groups[Name]}]}

    def create_rule(**rule: Any) -> dict[str, Any]:
        made = {"RuleArn": f"rule-{rule['Priority']}", "IsDefault": False, **rule, "Priority": str(rule["Priority"])}
        client.rules.append(made)
        return {"Rules": [made]}

    client.create_target_group.side_effect = create_group
    client.create_rule.side_effect = create_rule
    monkeypatch.setattr(services, "_balancing", client)
    return client


@pytest.mark.parametrize(
    ("deployment", "status", "config"),
    [
        ("IN_PROGRESS", "Updating", ""),
        ("PENDING", "Updating", ""),
        ("ROLLBACK_IN_PROGRESS", "Updating", ""),
        ("SUCCESSFUL", "InService", RUN),
        ("ROLLBACK_SUCCESSFUL", "InService", BEFORE),
        ("ROLLBACK_FAILED", "Failed", ""),
        ("STOPPED", "Failed", ""),
    ],
)
def test_what_serves_is_told_by_the_last_deployment(ecs: Ecs, deployment: str, status: str, config: str) -> None:
    ecs.services["cartpole"] = {"status": "ACTIVE", "taskDefinition": definition(RUN)}
    ecs.deployments = [
        {
            "createdAt": 2,
            "status": deployment,
            "statusReason": "because",
            "serviceDeploymentArn": "d",
            "targetServiceRevisionArn": f"revision/{RUN}",
        },
        {"createdAt": 1, "status": "SUCCESSFUL", "serviceDeploymentArn": "c", "targetServiceRevisionArn": "revision/x"},
    ]
    found = services.describe("cartpole")
    assert (found.status, found.config, found.failure) == (status, config, "because")


def test_a_deployment_that_has_only_just_been_asked_for_is_under_way(ecs: Ecs) -> None:
    """ECS may not list it yet, and the one before must not be taken for its end."""
    done = {
        "createdAt": 1,
        "status": "SUCCESSFUL",
        "serviceDeploymentArn": "first",
        "targetServiceRevisionArn": f"revision/{BEFORE}",
    }
    ecs.deployments = [done]
    ecs.services["cartpole"] = {"status": "ACTIVE", "taskDefinition": definition(RUN)}
    assert services.describe("cartpole").status == "Updating"
    ecs.services["cartpole"] = {"status": "ACTIVE", "taskDefinition": definition(BEFORE)}
    assert services.describe("cartpole").status == "InService"
    ecs.services["cartpole"]["currentServiceDeployment"] = "second"
    assert services.describe("cartpole").status == "Updating"


def test_a_service_without_deployments_is_an_old_one(ecs: Ecs) -> None:
    service = {"status": "ACTIVE", "taskDefinition": definition(RUN), "createdAt": datetime(2026, 1, 1, tzinfo=UTC)}
    ecs.services["cartpole"] = service
    assert (services.describe("cartpole").status, services.describe("cartpole").config) == ("InService", RUN)
    service["createdAt"] = datetime.now(UTC)
    assert services.describe("cartpole").status == "Creating", "or one that was made a moment ago"


@pytest.mark.parametrize(("service", "status"), [("DRAINING", "Deleting"), ("INACTIVE", "Missing"), (None, "Missing")])
def test_a_service_that_goes_or_is_gone(ecs: Ecs, service: str | None, status: str) -> None:
    if service:
        ecs.services["cartpole"] = {"status": service, "taskDefinition": definition(RUN)}
    assert services.describe("cartpole").status == status


def test_a_service_has_two_target_groups_and_a_rule(ecs: Ecs, balancing: MagicMock) -> None:
    balancing.rules.append({"RuleArn": "other", "Priority": "1", "Conditions": [], "Actions": [], "IsDefault": False})
    services.create("cartpole", RUN)
    rule = balancing.rules[-1]
    assert rule["Priority"] == "2"
    assert rule["Conditions"][0]["HttpHeaderConfig"] == {"HttpHeaderName": "X-Rlpipe-Endpoint", "Values": ["cartpole"]}
    first, second = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
    assert (first["Weight"], second["Weight"]) == (100, 0)
    assert all(len(name) <= 32 for name in balancing.groups)
    made = ecs.create_service.call_args.kwargs
    [balancer] = made["loadBalancers"]
    assert balancer["targetGroupArn"] == first["TargetGroupArn"]
    assert balancer["advancedConfiguration"] == {
        "alternateTargetGroupArn": second["TargetGroupArn"],
        "productionListenerRule": "rule-2",
        "roleArn": "arn:balancing",
    }
    assert (made["desiredCount"], made["taskDefinition"]) == (2, RUN)
    assert made["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"

    services.create("cartpole", RUN)
    assert len(balancing.rules) == 3, "made again, it is the same rule"

    services.delete("cartpole")
    ecs.delete_service.assert_called_once_with(cluster=CLUSTER, service="cartpole", force=True)
    balancing.delete_rule.assert_called_once_with(RuleArn="rule-2")
    assert len(balancing.delete_target_group.mock_calls) == 2


def test_a_run_asks_for_a_canary_and_a_command_does_not(ecs: Ecs) -> None:
    services.update("cartpole", RUN, DeploySection(target="ecs", canary_percent=10, bake_minutes=3), ["errors"])
    how = ecs.update_service.call_args.kwargs["deploymentConfiguration"]
    assert (how["strategy"], how["bakeTimeInMinutes"]) == ("CANARY", 3)
    assert how["canaryConfiguration"] == {"canaryPercent": 10.0, "canaryBakeTimeInMinutes": 3}
    assert how["alarms"] == {"alarmNames": ["errors"], "enable": True, "rollback": True}
    services.update("cartpole", RUN, DeploySection(target="ecs", canary_percent=0), ["errors"])
    assert ecs.update_service.call_args.kwargs["deploymentConfiguration"]["strategy"] == "BLUE_GREEN"
    services.update("cartpole", BEFORE)
    how = ecs.update_service.call_args.kwargs["deploymentConfiguration"]
    assert (how["strategy"], how["bakeTimeInMinutes"], how["alarms"]["enable"]) == ("BLUE_GREEN", 0, False)
    assert how["deploymentCircuitBreaker"] == {"enable": True, "rollback": True}


def test_a_task_reads_its_policy_by_its_role(ecs: Ecs) -> None:
    ecs.get_paginator.side_effect = None
    ecs.get_paginator.return_value.paginate.return_value = [{"taskDefinitionArns": []}]
    services.make_servable(
        RUN, endpoint="cartpole", image="image", model_uri="s3://b/k", deploy=DeploySection(target="ecs"), capture=None
    )
    made = ecs.register_task_definition.call_args.kwargs
    assert (made["family"], made["cpu"], made["memory"], made["taskRoleArn"]) == (RUN, "256", "512", "arn:task")
    [container] = made["containerDefinitions"]
    assert {"name": "RLPIPE_MODEL_URI", "value": "s3://b/k"} in container["environment"]
    assert {"name": "RLPIPE_ENDPOINT", "value": "cartpole"} in container["environment"]


def test_a_task_definition_in_use_is_not_deregistered(ecs: Ecs) -> None:
    made = datetime(2026, 1, 1, tzinfo=UTC)
    ecs.services["cartpole"] = {"status": "ACTIVE", "taskDefinition": definition(RUN), "createdAt": made}
    assert services.delete_servable(RUN) is False
    assert services.delete_servable(BEFORE) is True
    ecs.deregister_task_definition.assert_called_once_with(taskDefinition=definition(BEFORE))


def test_alarms_watch_the_target_group_that_a_policy_serves_from_or_will(ecs: Ecs, balancing: MagicMock) -> None:
    services.create("cartpole", BEFORE)
    made = datetime(2026, 1, 1, tzinfo=UTC)
    ecs.services["cartpole"] = {"status": "ACTIVE", "taskDefinition": definition(BEFORE), "createdAt": made}
    first, second = (it["TargetGroupArn"] for it in balancing.rules[-1]["Actions"][0]["ForwardConfig"]["TargetGroups"])
    assert services.fleet("cartpole", BEFORE) == [
        {"Name": "LoadBalancer", "Value": "app/stage/50dc6c495c0c9188"},
        {"Name": "TargetGroup", "Value": first.rpartition(":")[2]},
    ]
    assert services.fleet("cartpole", RUN)[1]["Value"] == second.rpartition(":")[2]


def test_failures_are_told_in_percent_of_the_requests(
    ecs: Ecs, balancing: MagicMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_FUNCTION_ARN", "arn:alert")
    client = MagicMock()
    monkeypatch.setattr(alarms, "_cloudwatch", client)
    deploy = DeploySection(target="ecs", max_error_percent=2, max_latency_ms=300)
    assert alarms.watch("cartpole", RUN, deploy) == ["rlpipe-cartpole-errors", "rlpipe-cartpole-latency"]
    put = {call.kwargs["AlarmName"].rpartition("-")[2]: call.kwargs for call in client.put_metric_alarm.mock_calls}
    assert [query.get("Expression") for query in put["errors"]["Metrics"]][-1] == (
        "100 * (FILL(failed, 0) + FILL(unreached, 0)) / requests"
    )
    assert (put["errors"]["Threshold"], put["latency"]["Threshold"]) == (2, 0.3)
    assert not {"Namespace", "Period", "Statistic"} & put["errors"].keys(), "CloudWatch refuses them beside Metrics"
    assert put["idle"]["MetricName"] == "RequestCount"


def test_services_grow_with_their_cpu(ecs: Ecs, monkeypatch: pytest.MonkeyPatch) -> None:
    client = MagicMock()
    monkeypatch.setattr(scaling, "_scaling", client)
    scaling.register("cartpole", DeploySection(target="ecs"))
    target = client.register_scalable_target.call_args.kwargs
    assert target["ResourceId"] == f"service/{CLUSTER}/cartpole"
    assert (target["MinCapacity"], target["MaxCapacity"]) == (2, 4)
    policy = client.put_scaling_policy.call_args.kwargs["TargetTrackingScalingPolicyConfiguration"]
    assert policy["PredefinedMetricSpecification"] == {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}
