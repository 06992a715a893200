"""How people and programs command runs and ask policies: an HTTP API, and the function behind it."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_batch as batch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from config.settings import Settings
from contract.api import ROUTES, Route
from contract.layout import RUN_FILE, TRAINING_SUMMARY
from contract.record import NEWEST_FIRST
from stacks.constructs.alarms import Alarms
from stacks.constructs.base import RoomStack, allow, dead_letters, delivered_to, log_group
from stacks.constructs.firewall import Firewall
from stacks.constructs.function import Function

STAGE_NAME = "v1"


class ApiStack(RoomStack):
    """A REST API with the routes of `contract.api`."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        function_code: Path,
        input_bucket: s3.IBucket,
        artifacts_bucket: s3.IBucket,
        run_table: dynamodb.ITable,
        state_machine: sfn.IStateMachine,
        state_machine_name: str,
        job_log_group: logs.ILogGroup,
        job_queues: list[batch.IJobQueue],
        alert_function: lambda_.IFunction,
        endpoints_function: lambda_.IFunction,
        ask_function: lambda_.IFunction | None,
    ) -> None:
        super().__init__(scope, "api", settings=settings, description="The HTTP API and the function behind it.")
        self._settings = settings
        dead = dead_letters(self, "ControlDeadLetters")
        executions = self.format_arn(
            service="states",
            resource="execution",
            resource_name=f"{state_machine_name}:*",
            arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME,
        )
        self._function = Function(
            self,
            "Control",
            name="control",
            code=function_code,
            settings=settings,
            environment={
                "RUN_TABLE": run_table.table_name,
                "INPUT_BUCKET": input_bucket.bucket_name,
                "ARTIFACTS_BUCKET": artifacts_bucket.bucket_name,
                "JOB_LOG_GROUP": job_log_group.log_group_name,
                "STATE_MACHINE_ARN": state_machine.state_machine_arn,
            },
            timeout=29,  # API Gateway waits no longer
            dead_letters=dead,
        )
        for actions, resource in (
            (["dynamodb:GetItem", "dynamodb:UpdateItem"], run_table.table_arn),
            (["dynamodb:Query"], f"{run_table.table_arn}/index/{NEWEST_FIRST}"),
            (["states:SendTaskSuccess"], state_machine.state_machine_arn),
            (["states:DescribeExecution", "states:RedriveExecution"], executions),
            (["batch:TerminateJob"], self.format_arn(service="batch", resource="job", resource_name="*")),
            (["logs:GetLogEvents"], job_log_group.log_group_arn),
            (["s3:PutObject"], input_bucket.arn_for_objects(f"*/{RUN_FILE}")),
            (["s3:GetObject"], artifacts_bucket.arn_for_objects(f"runs/*/{TRAINING_SUMMARY}")),
            # Who may not list is told "denied" of a file that does not exist.
            (["s3:ListBucket"], artifacts_bucket.bucket_arn),
        ):
            allow(self._function, actions, resource)
        Alarms(self, settings=settings, action=alert_function).of_dead_letters("Control", dead)
        self._listen_to_jobs(job_queues, dead)
        api = self._api(endpoints_function, ask_function)
        if settings.api.auth == "api_key":
            self._add_key(api)
        if settings.api.firewall:
            Firewall(self, "Firewall", stage=api.deployment_stage)
        cdk.CfnOutput(self, "ApiUrl", value=api.url)

    def _listen_to_jobs(self, queues: list[batch.IJobQueue], dead: cdk.aws_sqs.IQueue) -> None:
        """A job that was submitted while somebody paused its run must learn of it, and its progress is noted."""
        events.Rule(
            self,
            "JobChanged",
            description="A job of a run waits, runs or has ended.",
            event_pattern=events.EventPattern(
                source=["aws.batch"],
                detail_type=["Batch Job State Change"],
                detail={
                    "jobQueue": [queue.job_queue_arn for queue in queues],
                    "status": ["RUNNABLE", "RUNNING", "SUCCEEDED", "FAILED"],
                },
            ),
            targets=[delivered_to(self._function, or_kept_in=dead)],
        )

    def _api(self, endpoints_function: lambda_.IFunction, ask_function: lambda_.IFunction | None) -> apigateway.RestApi:
        settings = self._settings.api
        by_key = settings.auth == "api_key"
        api = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=f"rlpipe-{self._settings.stage}",
            description="Runs and policies.",
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            cloud_watch_role=True,
            cloud_watch_role_removal_policy=cdk.RemovalPolicy.RETAIN,  # it is the account's, not only ours
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE_NAME,
                throttling_rate_limit=settings.requests_per_second,
                throttling_burst_limit=2 * settings.requests_per_second,
                method_options={
                    "/policies/{endpoint}/action/POST": apigateway.MethodDeploymentOptions(
                        throttling_rate_limit=settings.actions_per_second,
                        throttling_burst_limit=2 * settings.actions_per_second,
                    )
                },
                access_log_destination=apigateway.LogGroupLogDestination(
                    log_group(self, "AccessLog", settings=self._settings)
                ),
                access_log_format=apigateway.AccessLogFormat.json_with_standard_fields(
                    caller=True,
                    http_method=True,
                    ip=True,
                    protocol=True,
                    request_time=True,
                    resource_path=True,
                    response_length=True,
                    status=True,
                    user=True,
                ),
                logging_level=apigateway.MethodLoggingLevel.ERROR,
                metrics_enabled=True,
                tracing_enabled=True,
            ),
            default_method_options=apigateway.MethodOptions(
                authorization_type=apigateway.AuthorizationType.NONE if by_key else apigateway.AuthorizationType.IAM,
                api_key_required=by_key,
            ),
            default_cors_preflight_options=apigateway.CorsOptions(allow_origins=settings.cors_origins)
            if settings.cors_origins
            else None,
        )
        api.node.try_remove_child("Endpoint")  # an output of the construct's own; ours has a name
        self._validator = api.add_request_validator(
            "Validator", validate_request_body=True, validate_request_parameters=True
        )
        for kind in (apigateway.ResponseType.BAD_REQUEST_BODY, apigateway.ResponseType.BAD_REQUEST_PARAMETERS):
            # What API Gateway refuses itself reads like what the functions refuse.
            template = '{"error":"invalid","message":$context.error.messageString,"problems":[]}'
            api.add_gateway_response(
                f"Refusal{kind.response_type}", type=kind, templates={"application/json": template}
            )
        control = apigateway.LambdaIntegration(self._function, allow_test_invoke=False)
        policies = apigateway.LambdaIntegration(endpoints_function, allow_test_invoke=False)
        for route in ROUTES:
            if route.name == "chooseAction":
                self._add(api, route, self._endpoint_integration(), statuses=["200", "400", "502"])
            elif route.name == "askService":
                if ask_function:
                    self._add(api, route, apigateway.LambdaIntegration(ask_function, allow_test_invoke=False))
            elif route.path.startswith("/policies"):
                self._add(api, route, policies)
            else:
                self._add(api, route, control)
        return api

    def _add(
        self,
        api: apigateway.RestApi,
        route: Route,
        integration: apigateway.Integration,
        statuses: list[str] | None = None,
    ) -> None:
        resource = api.root.resource_for_path(route.path)
        models: dict[str, apigateway.IModel] | None = None
        if route.checked is not None:
            model = apigateway.CfnModel(
                self,
                f"{route.name[:1].upper()}{route.name[1:]}Body",
                rest_api_id=api.rest_api_id,
                content_type="application/json",
                schema={"$schema": "http://json-schema.org/draft-04/schema#", **route.checked},
            )
            models = {"application/json": apigateway.Model.from_model_name(self, f"{route.name}Model", model.ref)}
        resource.add_method(
            route.method,
            integration,
            operation_name=route.name,
            request_models=models,
            request_parameters={f"method.request.querystring.{name}": name in route.required for name in route.query}
            | ({"method.request.path.endpoint": True} if "{endpoint}" in route.path else {}),
            request_validator=self._validator,
            method_responses=[apigateway.MethodResponse(status_code=status) for status in statuses or []],
        )

    def _endpoint_integration(self) -> apigateway.Integration:
        """Straight to SageMaker: a function between would cost more time than the policy itself."""
        role = iam.Role(
            self,
            "AskPoliciesRole",
            description="What API Gateway may do: ask endpoints.",
            assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"),
        )
        endpoints = self.format_arn(service="sagemaker", resource="endpoint", resource_name="*")
        allow(role, ["sagemaker:InvokeEndpoint"], endpoints)
        return apigateway.AwsIntegration(
            service="runtime.sagemaker",
            path="endpoints/{endpoint}/invocations",
            integration_http_method="POST",
            options=apigateway.IntegrationOptions(
                credentials_role=role,
                request_parameters={"integration.request.path.endpoint": "method.request.path.endpoint"},
                integration_responses=[
                    apigateway.IntegrationResponse(status_code="200"),
                    # An endpoint that does not exist, or an observation that does not fit.
                    apigateway.IntegrationResponse(status_code="400", selection_pattern=r"4\d{2}"),
                    apigateway.IntegrationResponse(status_code="502", selection_pattern=r"5\d{2}"),
                ],
            ),
        )

    def _add_key(self, api: apigateway.RestApi) -> None:
        settings = self._settings.api
        plan = api.add_usage_plan(
            "UsagePlan",
            throttle=apigateway.ThrottleSettings(
                rate_limit=settings.actions_per_second, burst_limit=2 * settings.actions_per_second
            ),
            quota=apigateway.QuotaSettings(limit=settings.requests_per_day, period=apigateway.Period.DAY),
            api_stages=[apigateway.UsagePlanPerApiStage(api=api, stage=api.deployment_stage)],
        )
        plan.add_api_key(api.add_api_key("Key"))
