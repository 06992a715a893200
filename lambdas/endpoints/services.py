"""Services on ECS: what `hosting` is for SageMaker, with tasks of Fargate behind the stage's load balancer.

A policy's task definition is a family that is named by its run. An endpoint is a service of that name, with two target
groups, between which ECS moves the requests, and a rule of the load balancer's listener: requests with the endpoint's
name in the header `X-Rlpipe-Endpoint` are the service's.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/canary-deployments.html
"""

import contextlib
import functools
import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.exceptions import ClientError

from contract.layout import ENDPOINT_HEADER
from contract.metrics import ENDPOINT_VARIABLE, STAGE_VARIABLE
from contract.policy import MODEL_URI_VARIABLE
from contract.run import DeploySection
from contract.services import ServicesPlace, family_of
from lambdas.endpoints.endpoint import MISSING, Endpoint

_ecs = boto3.client("ecs")
_balancing = boto3.client("elbv2")

CONTAINER, PORT = "policy", 8080
_MOST_RULES = 100
"""Of a listener, unless AWS was asked for more."""
_ENDED = {
    "SUCCESSFUL": "InService",
    "ROLLBACK_SUCCESSFUL": "InService",
    "ROLLBACK_FAILED": "Failed",
    "STOPPED": "Failed",
}
"""By the status of a service's last deployment, that of its endpoint; it is changing in any other."""


@functools.cache
def place() -> ServicesPlace:
    """Where the stage puts its services."""
    return ServicesPlace.model_validate_json(os.environ["SERVICES"])


def describe(name: str) -> Endpoint:
    """An endpoint, also one that is not there."""
    found = _ecs.describe_services(cluster=place().cluster, services=[name])["services"]
    if not found or found[0]["status"] == "INACTIVE":
        return Endpoint(name=name, status=MISSING)
    if found[0]["status"] == "DRAINING":
        return Endpoint(name=name, status="Deleting")
    listed = _ecs.list_service_deployments(cluster=place().cluster, service=name)["serviceDeployments"]
    if not listed and datetime.now(UTC) - found[0]["createdAt"] < timedelta(days=1):
        return Endpoint(name=name, status="Creating")  # its first deployment is too young to be listed
    if not listed:  # ECS forgets deployments after 90 days
        return Endpoint(name=name, status="InService", config=family_of(found[0]["taskDefinition"]))
    last = max(listed, key=lambda deployment: deployment["createdAt"])
    status = _ENDED.get(last["status"], "Updating" if len(listed) > 1 else "Creating")
    config = ""
    if found[0].get("currentServiceDeployment", last["serviceDeploymentArn"]) != last["serviceDeploymentArn"]:
        status = "Updating"  # by a deployment that is too young to be listed
    if status == "InService":
        revision = last["targetServiceRevisionArn"]
        if last["status"] == "ROLLBACK_SUCCESSFUL":
            revision = _deployment(last["serviceDeploymentArn"])["rollback"]["serviceRevisionArn"]
        revisions = _ecs.describe_service_revisions(serviceRevisionArns=[revision])["serviceRevisions"]
        config = family_of(revisions[0]["taskDefinition"])
        if last["status"] == "SUCCESSFUL" and config != family_of(found[0]["taskDefinition"]):
            status = "Updating"  # it was told to serve another one a moment ago
    return Endpoint(name=name, status=status, config=config, failure=last.get("statusReason") or "no reason given")


def told_to_serve(name: str) -> str:
    """The policy that an endpoint was last told to serve; none where it is not there."""
    found = _ecs.describe_services(cluster=place().cluster, services=[name])["services"]
    return family_of(found[0]["taskDefinition"]) if found else ""


def statuses() -> dict[str, str]:
    """The status of every endpoint, by its name."""
    return {name: describe(name).status for name in _names()} if os.environ["SERVICES"] else {}


def make_servable(
    run_id: str, *, endpoint: str, image: str, model_uri: str, deploy: DeploySection, capture: dict[str, Any] | None
) -> None:
    """Register the task definition of a run, a family of its name. `capture` is SageMaker's alone."""
    if _revisions(run_id):
        return
    environment = {
        MODEL_URI_VARIABLE: model_uri,
        STAGE_VARIABLE: os.environ["RLPIPE_STAGE"],
        ENDPOINT_VARIABLE: endpoint,
        "AWS_REGION": _ecs.meta.region_name,
    }
    container: Any = {
        "name": CONTAINER,
        "image": image,
        "essential": True,
        "portMappings": [{"containerPort": PORT, "protocol": "tcp"}],
        "environment": [{"name": key, "value": value} for key, value in environment.items()],
        "healthCheck": {"command": ["CMD", "python", "-m", "serving_image.health"], "startPeriod": 60},
        "stopTimeout": 30,
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": place().log_group,
                "awslogs-region": _ecs.meta.region_name,
                "awslogs-stream-prefix": endpoint,
            },
        },
    }
    _ecs.register_task_definition(
        family=run_id,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu=str(place().cpu),
        memory=str(place().memory_mib),
        executionRoleArn=place().execution_role_arn,
        taskRoleArn=place().task_role_arn,
        containerDefinitions=[container],
    )


def create(name: str, config: str) -> None:
    """Create an endpoint."""
    groups = [_make_group(name, side) for side in ("a", "b")]
    rule = _rule_of(name) or _make_rule(name, groups)
    with _unless("idempotent"):
        _ecs.create_service(
            cluster=place().cluster,
            serviceName=name,
            taskDefinition=config,
            launchType="FARGATE",
            desiredCount=place().tasks,
            healthCheckGracePeriodSeconds=120,
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": place().subnets,
                    "securityGroups": [place().security_group],
                    "assignPublicIp": "ENABLED" if place().public else "DISABLED",
                }
            },
            loadBalancers=[
                {
                    "targetGroupArn": groups[0],
                    "containerName": CONTAINER,
                    "containerPort": PORT,
                    "advancedConfiguration": {
                        "alternateTargetGroupArn": groups[1],
                        "productionListenerRule": rule["RuleArn"],
                        "roleArn": place().balancing_role_arn,
                    },
                }
            ],
            deploymentConfiguration=_at_once(),
            propagateTags="SERVICE",
            tags=[{"key": "project", "value": "rlpipe"}, {"key": "stage", "value": os.environ["RLPIPE_STAGE"]}],
        )


def update(name: str, config: str, deploy: DeploySection | None = None, alarms: list[str] | None = None) -> None:
    """Begin to move an endpoint to another policy: at once, or as a run has asked for it, watched by alarms."""
    how = _at_once() if deploy is None else _gradual(deploy, alarms or [])
    _ecs.update_service(cluster=place().cluster, service=name, taskDefinition=config, deploymentConfiguration=how)


def delete(name: str) -> None:
    """Delete an endpoint, with what the load balancer knows of it."""
    with _unless("ServiceNotFoundException"):
        _ecs.delete_service(cluster=place().cluster, service=name, force=True)
    if rule := _rule_of(name):
        _balancing.delete_rule(RuleArn=rule["RuleArn"])
    for side in ("a", "b"):
        if group := _group(name, side):
            _balancing.delete_target_group(TargetGroupArn=group)


def delete_servable(run_id: str) -> bool:
    """Deregister a run's task definition, unless a service uses it; whether it is gone."""
    if any(run_id in (told_to_serve(name), describe(name).config) for name in _names()):
        return False
    for revision in _revisions(run_id):
        _ecs.deregister_task_definition(taskDefinition=revision)
    return True


def fleet(name: str, config: str) -> list[dict[str, str]]:
    """The dimensions of the load balancer's metrics of the tasks that serve a policy, or will."""
    rule = _rule_of(name)
    group = _make_group(name, "a")
    if rule is not None:
        weights = {item["TargetGroupArn"]: item["Weight"] for item in _forwards(rule)}
        serves = max(weights, key=lambda arn: weights[arn])
        others = [arn for arn in weights if arn != serves]
        group = serves if describe(name).config in (config, "") else others[0]
    balancer = place().listener_arn.partition(":listener/")[2].rpartition("/")[0]
    return [
        {"Name": "LoadBalancer", "Value": balancer},
        {"Name": "TargetGroup", "Value": group.rpartition(":")[2]},
    ]


def _at_once() -> Any:
    unwatched = {"alarmNames": [], "enable": False, "rollback": False}
    return {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": 0, **_BREAKER, "alarms": unwatched}


def _gradual(deploy: DeploySection, alarms: list[str]) -> Any:
    """A part of the requests first, where the run asks for it; ECS counts whole minutes."""
    minutes = round(deploy.bake_minutes)
    how: dict[str, Any] = {"strategy": "BLUE_GREEN", "bakeTimeInMinutes": minutes, **_BREAKER}
    if deploy.canary_percent:
        canary = {"canaryPercent": float(deploy.canary_percent), "canaryBakeTimeInMinutes": minutes}
        how |= {"strategy": "CANARY", "canaryConfiguration": canary}
    return {**how, "alarms": {"alarmNames": alarms, "enable": True, "rollback": True}}


_BREAKER = {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}
"""Tasks that never become healthy end a deployment."""


def _names() -> list[str]:
    pages = _ecs.get_paginator("list_services").paginate(cluster=place().cluster)
    return [arn.rpartition("/")[2] for page in pages for arn in page["serviceArns"]]


def _deployment(arn: str) -> Any:
    return _ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"][0]


def _revisions(family: str) -> list[str]:
    """The task definitions of a family; the prefix alone may be that of another family."""
    pages = _ecs.get_paginator("list_task_definitions").paginate(familyPrefix=family)
    return [arn for page in pages for arn in page["taskDefinitionArns"] if family_of(arn) == family]


# --- the load balancer ------------------------------------------------------------------------------------------------


def _group_name(name: str, side: str) -> str:
    """At most 32 characters, and an account's own: stages may have endpoints of the same name."""
    return f"rlpipe-{hashlib.sha256(f'{place().cluster}/{name}'.encode()).hexdigest()[:20]}-{side}"


def _group(name: str, side: str) -> str | None:
    try:
        found = _balancing.describe_target_groups(Names=[_group_name(name, side)])["TargetGroups"]
    except _balancing.exceptions.TargetGroupNotFoundException:
        return None
    return found[0]["TargetGroupArn"] if found else None


def _make_group(name: str, side: str) -> str:
    made = _group(name, side)
    if made is None:
        [group] = _balancing.create_target_group(
            Name=_group_name(name, side),
            Protocol="HTTP",
            Port=PORT,
            VpcId=place().vpc,
            TargetType="ip",
            HealthCheckPath="/ping",
            HealthCheckIntervalSeconds=10,
            HealthCheckTimeoutSeconds=5,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=3,
            Tags=[{"Key": "project", "Value": "rlpipe"}, {"Key": "stage", "Value": os.environ["RLPIPE_STAGE"]}],
        )["TargetGroups"]
        made = group["TargetGroupArn"]
    return made


def _rules() -> list[Any]:
    pages = _balancing.get_paginator("describe_rules").paginate(ListenerArn=place().listener_arn)
    return [rule for page in pages for rule in page["Rules"]]


def _rule_of(name: str) -> Any:
    """The rule that sends an endpoint's requests to its service; None where there is none."""
    for rule in _rules():
        for condition in rule["Conditions"]:
            if name in condition.get("HttpHeaderConfig", {}).get("Values", []):
                return rule
    return None


def _make_rule(name: str, groups: list[str]) -> Any:
    taken = {rule["Priority"] for rule in _rules()}
    priority = next(number for number in range(1, _MOST_RULES + 2) if str(number) not in taken)
    weights: Any = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in zip(groups, (100, 0), strict=True)]
    header: Any = {"HttpHeaderName": ENDPOINT_HEADER, "Values": [name]}
    return _balancing.create_rule(
        ListenerArn=place().listener_arn,
        Priority=priority,
        Conditions=[{"Field": "http-header", "HttpHeaderConfig": header}],
        Actions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": weights}}],
    )["Rules"][0]


def _forwards(rule: Any) -> list[Any]:
    return [group for action in rule["Actions"] for group in action.get("ForwardConfig", {}).get("TargetGroups", [])]


@contextlib.contextmanager
def _unless(said: str) -> Iterator[None]:
    """Nothing is wrong when the error's code or message has this in it."""
    try:
        yield
    except ClientError as error:
        if said not in str(error):
            raise
