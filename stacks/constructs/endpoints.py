"""The function that all that happens to endpoints goes through, and what it may do."""

import json
from pathlib import Path
from typing import Any

from aws_cdk import ArnFormat
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from config.settings import Settings
from contract.cost import ServingPrices
from contract.layout import CAPTURED, CHAMPIONS, MODEL_ARCHIVE, RUN_FILE, SHADOW, SPECIFICATION
from contract.metrics import NAMESPACE, STAGE_VARIABLE
from stacks.constructs.alarms import Alarms
from stacks.constructs.base import RoomStack, allow, dead_letters, delivered_to
from stacks.constructs.function import Function
from stacks.constructs.services import Services


def serving_prices(settings: Settings) -> str:
    """What the functions estimate the cost of endpoints with."""
    serving = settings.serving
    prices = ServingPrices(instances=serving.instances, instance_hour=serving.price_per_hour)
    if ecs := serving.ecs:
        services = {"tasks": ecs.tasks, "task_hour": ecs.task_hour, "balancer_hour": ecs.balancer_hour}
        prices = prices.model_copy(update=services)
    return prices.model_dump_json()


class Endpoints(Construct):
    """Endpoints are created, updated and deleted by one function: a run file names its endpoint, so no stack can."""

    def __init__(
        self,
        scope: RoomStack,
        construct_id: str,
        *,
        settings: Settings,
        function_code: Path,
        input_bucket: s3.IBucket,
        artifacts_bucket: s3.IBucket,
        run_table: dynamodb.ITable,
        model_role: iam.IRole,
        services: Services | None,
        alarms: Alarms,
        alert_function: lambda_.IFunction,
    ) -> None:
        super().__init__(scope, construct_id)
        self._stack = scope
        self._dead = dead_letters(scope, "EndpointsDeadLetters")
        alarms.of_dead_letters("Endpoints", self._dead)
        function = Function(
            scope,
            "EndpointsFunction",
            name="endpoints",
            code=function_code,
            settings=settings,
            environment={
                "ARTIFACTS_BUCKET": artifacts_bucket.bucket_name,
                "RUN_TABLE": run_table.table_name,
                STAGE_VARIABLE: settings.stage,
                "ALERT_FUNCTION_ARN": alert_function.function_arn,
                "MODEL_ROLE_ARN": model_role.role_arn,
                "SERVING_INSTANCE_TYPE": settings.serving.instance_type,
                "SERVING_INSTANCES": str(settings.serving.instances),
                "SERVING_MAX_INSTANCES": str(settings.serving.max_instances or settings.serving.instances),
                "SERVING_INVOCATIONS_PER_MINUTE": str(settings.serving.invocations_per_minute),
                "SERVING_PRICES": serving_prices(settings),
                "SERVICES": scope.to_json_string(services.place.model_dump()) if services else "",
                "SERVERLESS_MEMORY_MB": str(settings.serving.serverless.memory_mb),
                "SERVERLESS_CONCURRENCY": str(settings.serving.serverless.max_concurrency),
            },
            timeout=29,  # API Gateway waits no longer
            dead_letters=self._dead,
        )
        endpoint, configuration, model = (self._sagemaker(kind) for kind in ("endpoint", "endpoint-config", "model"))
        granted: tuple[tuple[Any, ...], ...] = (
            ([f"dynamodb:{verb}Item" for verb in ("Get", "Put", "Update", "Delete")], run_table.table_arn),
            (
                ["s3:GetObject"],
                artifacts_bucket.arn_for_objects(f"runs/*/{SPECIFICATION}"),
                artifacts_bucket.arn_for_objects(f"runs/*/{MODEL_ARCHIVE}"),
                *(artifacts_bucket.arn_for_objects(f"{folder}/*") for folder in (CHAMPIONS, CAPTURED, "drift")),
            ),
            (
                ["s3:PutObject"],
                artifacts_bucket.arn_for_objects(f"runs/*/{SHADOW}"),
                *(artifacts_bucket.arn_for_objects(f"{folder}/*") for folder in (CHAMPIONS, "drift")),
            ),
            # A policy whose callers ask something else is trained anew, where its run file says so.
            (["s3:GetObjectVersion", "s3:PutObject"], input_bucket.arn_for_objects(f"*{RUN_FILE}")),
            # Who may not list is told "denied" of a file that does not exist.
            (["s3:ListBucket"], artifacts_bucket.bucket_arn),
            (["sagemaker:CreateModel", "sagemaker:DeleteModel"], model),
            (
                [
                    "sagemaker:CreateEndpointConfig",
                    "sagemaker:DescribeEndpointConfig",
                    "sagemaker:DeleteEndpointConfig",
                ],
                configuration,
            ),
            (["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"], endpoint, configuration),
            (["sagemaker:AddTags"], endpoint),
            (["sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"], endpoint),
            # They know no resources.
            (["sagemaker:ListEndpoints", "cloudwatch:GetMetricStatistics"], "*"),
            (
                [
                    "cloudwatch:PutMetricAlarm",
                    "cloudwatch:SetAlarmState",
                    "cloudwatch:DeleteAlarms",
                    "cloudwatch:DescribeAlarms",
                    "cloudwatch:TagResource",
                ],
                scope.format_arn(
                    service="cloudwatch",
                    resource="alarm",
                    resource_name="rlpipe-*",
                    arn_format=ArnFormat.COLON_RESOURCE_NAME,
                ),
            ),
        )
        for actions, *resources in granted:
            allow(function, actions, *resources)
        ours = {"StringEquals": {"cloudwatch:namespace": NAMESPACE}}
        allow(function, ["cloudwatch:PutMetricData"], "*", when=ours)  # knows no resources
        _may_pass(function, [model_role], "sagemaker.amazonaws.com")
        self._grant_scaling(function)
        self._may_have_scaled_by(function, "sagemaker", "SageMakerEndpoint")
        if services:
            self._grant_services(function, services)
            self._may_have_scaled_by(function, "ecs", "ECSService")
        self.function: lambda_.IFunction = function
        # A rollback ends minutes after it was asked for.
        self._rule(
            "EndpointChanged",
            description="An endpoint was created or updated, or could not be.",
            source="aws.sagemaker",
            detail_type="SageMaker Endpoint State Change",
            detail={"EndpointStatus": ["IN_SERVICE", "FAILED"]},
        )
        if services:
            # FAILED is told of services whose tasks never become healthy; of all others the last word is COMPLETED.
            self._rule(
                "ServiceChanged",
                description="A service on ECS was created or updated, or could not be.",
                source="aws.ecs",
                detail_type="ECS Deployment State Change",
                detail={"eventName": ["SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"]},
            )
        self._schedule(settings)

    def _grant_services(self, function: Function, services: Services) -> None:
        """Services in the stage's own cluster, and what its load balancer knows of them."""

        def arn(service: str, resource: str, name: str) -> str:
            return self._stack.format_arn(service=service, resource=resource, resource_name=name)

        cluster = services.cluster_name
        granted: tuple[tuple[list[str], list[str]], ...] = (
            (
                [
                    "ecs:CreateService",
                    "ecs:UpdateService",
                    "ecs:DeleteService",
                    "ecs:DescribeServices",
                    "ecs:ListServiceDeployments",
                    "ecs:TagResource",
                ],
                [services.services_arn],
            ),
            (["ecs:DescribeServiceDeployments"], [arn("ecs", "service-deployment", f"{cluster}/*")]),
            (["ecs:DescribeServiceRevisions"], [arn("ecs", "service-revision", f"{cluster}/*")]),
            (["ecs:RegisterTaskDefinition"], [arn("ecs", "task-definition", "*")]),
            # They know no resources.
            (
                [
                    "ecs:ListServices",
                    "ecs:ListTaskDefinitions",
                    "ecs:DeregisterTaskDefinition",
                    "elasticloadbalancing:DescribeTargetGroups",
                    "elasticloadbalancing:DescribeRules",
                ],
                ["*"],
            ),
            (
                [
                    "elasticloadbalancing:CreateTargetGroup",
                    "elasticloadbalancing:DeleteTargetGroup",
                    "elasticloadbalancing:AddTags",
                ],
                [services.groups_arn],
            ),
            (["elasticloadbalancing:CreateRule"], [services.listener_arn]),
            (["elasticloadbalancing:DeleteRule"], [services.rules_arn]),
        )
        for actions, resources in granted:
            allow(function, actions, *resources)
        _may_pass(function, services.task_roles, "ecs-tasks.amazonaws.com")
        _may_pass(function, [services.balancing_role], "ecs.amazonaws.com")

    def _grant_scaling(self, function: Function) -> None:
        """Endpoints grow and shrink by Application Auto Scaling."""
        target = self._stack.format_arn(
            service="application-autoscaling", resource="scalable-target", resource_name="*"
        )
        scaling = ("RegisterScalableTarget", "DeregisterScalableTarget", "PutScalingPolicy")
        allow(function, [f"application-autoscaling:{action}" for action in scaling], target)
        # Registering looks at the variant, and its policy makes alarms of its own.
        # https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-prerequisites.html
        allow(function, ["sagemaker:UpdateEndpointWeightsAndCapacities"], self._sagemaker("endpoint"))

    def _may_have_scaled_by(self, function: Function, service: str, role: str) -> None:
        """Application Auto Scaling has a role of its own for each service, which the first to register makes."""
        principal = f"{service}.application-autoscaling.amazonaws.com"
        linked = self._stack.format_arn(
            service="iam",
            region="",
            resource="role",
            resource_name=f"aws-service-role/{principal}/AWSServiceRoleForApplicationAutoScaling_{role}",
        )
        theirs = {"StringEquals": {"iam:AWSServiceName": principal}}
        allow(function, ["iam:CreateServiceLinkedRole"], linked, when=theirs)

    def undo_aborted(self, state_machine: sfn.IStateMachine) -> None:
        """An aborted run may have left an endpoint behind that is paid for, or half a deployment."""
        self._rule(
            "DeploymentAborted",
            description="A run was ended from outside; it may have been deploying.",
            source="aws.states",
            detail_type="Step Functions Execution Status Change",
            detail={"stateMachineArn": [state_machine.state_machine_arn], "status": ["ABORTED", "TIMED_OUT"]},
        )

    def _rule(
        self, name: str, *, description: str, source: str, detail_type: str, detail: dict[str, list[str]]
    ) -> None:
        target = delivered_to(self.function, or_kept_in=self._dead)
        pattern = events.EventPattern(source=[source], detail_type=[detail_type], detail=detail)
        events.Rule(self._stack, name, description=description, event_pattern=pattern, targets=[target])

    def _schedule(self, settings: Settings) -> None:
        """What happens by the clock: times to live are looked at, and the stage's own hours are kept."""
        commands = {"expire": ("rate(15 minutes)", "UTC"), "drift": ("rate(1 hour)", "UTC")}
        if hours := settings.serving.schedule:
            commands["off"] = (hours.off, hours.timezone)
            if hours.on:
                commands["on"] = (hours.on, hours.timezone)
        role = iam.Role(
            self._stack,
            "SchedulesRole",
            description="What EventBridge Scheduler may do: call the endpoints function.",
            assumed_by=iam.ServicePrincipal("scheduler.amazonaws.com"),
        )
        allow(role, ["lambda:InvokeFunction"], self.function.function_arn)
        allow(role, ["sqs:SendMessage"], self._dead.queue_arn)
        for command, (expression, timezone) in commands.items():
            scheduler.CfnSchedule(
                self._stack,
                f"Endpoints{command.title()}",
                description=f"Endpoints: {command}.",
                flexible_time_window=scheduler.CfnSchedule.FlexibleTimeWindowProperty(mode="OFF"),
                schedule_expression=expression,
                schedule_expression_timezone=timezone,
                target=scheduler.CfnSchedule.TargetProperty(
                    arn=self.function.function_arn,
                    role_arn=role.role_arn,
                    input=json.dumps({"command": command}),
                    dead_letter_config=scheduler.CfnSchedule.DeadLetterConfigProperty(arn=self._dead.queue_arn),
                ),
            )

    def _sagemaker(self, resource: str) -> str:
        return self._stack.format_arn(service="sagemaker", resource=resource, resource_name="*")


def _may_pass(function: Function, roles: list[iam.IRole], to: str) -> None:
    """Let a function hand these roles to a service, and to no other."""
    allow(
        function,
        ["iam:PassRole"],
        *(role.role_arn for role in roles),
        when={"StringEquals": {"iam:PassedToService": to}},
    )
