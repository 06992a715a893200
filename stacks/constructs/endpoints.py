"""The function that all that happens to endpoints goes through, and what it may do."""

from pathlib import Path

from aws_cdk import ArnFormat
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from constructs import Construct

from config.settings import Settings
from contract.layout import SPECIFICATION
from stacks.constructs.base import RoomStack
from stacks.constructs.function import Function


class Endpoints(Construct):
    """Endpoints are created, updated and deleted by one function: a run file names its endpoint, so no stack can."""

    def __init__(
        self,
        scope: RoomStack,
        construct_id: str,
        *,
        settings: Settings,
        function_code: Path,
        artifacts_bucket: s3.IBucket,
        run_table: dynamodb.ITable,
        model_role: iam.IRole,
        topic: sns.ITopic,
    ) -> None:
        super().__init__(scope, construct_id)
        self._stack = scope
        function = Function(
            scope,
            "EndpointsFunction",
            name="endpoints",
            code=function_code,
            settings=settings,
            environment={
                "ARTIFACTS_BUCKET": artifacts_bucket.bucket_name,
                "RUN_TABLE": run_table.table_name,
                "TOPIC_ARN": topic.topic_arn,
                "MODEL_ROLE_ARN": model_role.role_arn,
                "SERVING_INSTANCE_TYPE": settings.serving.instance_type,
                "SERVING_INSTANCES": str(settings.serving.instances),
                "SERVERLESS_MEMORY_MB": str(settings.serving.serverless.memory_mb),
                "SERVERLESS_CONCURRENCY": str(settings.serving.serverless.max_concurrency),
            },
            timeout=29,  # API Gateway waits no longer
        )
        endpoint, configuration, model = (self._sagemaker(kind) for kind in ("endpoint", "endpoint-config", "model"))
        for actions, *resources in (
            (["dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:DeleteItem"], run_table.table_arn),
            (
                ["s3:GetObject"],
                artifacts_bucket.arn_for_objects(f"runs/*/{SPECIFICATION}"),
                artifacts_bucket.arn_for_objects("champions/*"),
            ),
            (["s3:PutObject"], artifacts_bucket.arn_for_objects("champions/*")),
            # Who may not list is told "denied" of a file that does not exist.
            (["s3:ListBucket"], artifacts_bucket.bucket_arn),
            (["sagemaker:CreateModel", "sagemaker:DeleteModel"], model),
            (["sagemaker:CreateEndpointConfig", "sagemaker:DeleteEndpointConfig"], configuration),
            (["sagemaker:CreateEndpoint", "sagemaker:UpdateEndpoint"], endpoint, configuration),
            (["sagemaker:DescribeEndpoint", "sagemaker:DeleteEndpoint"], endpoint),
            (["sagemaker:ListEndpoints"], "*"),  # knows no resources
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
        ):
            function.add_to_role_policy(iam.PolicyStatement(actions=actions, resources=list(resources)))
        function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["iam:PassRole"],
                resources=[model_role.role_arn],
                conditions={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}},
            )
        )
        self.function: lambda_.IFunction = function

    def _sagemaker(self, resource: str) -> str:
        return self._stack.format_arn(service="sagemaker", resource=resource, resource_name="*")
