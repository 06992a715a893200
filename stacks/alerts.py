"""Who is told of the ends of runs and of what is wrong, and the function that puts the latter into words."""

from pathlib import Path

from aws_cdk import ArnFormat
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from config.settings import Settings
from contract.metrics import STAGE_VARIABLE
from stacks.constructs.alarms import Alarms
from stacks.constructs.base import RoomStack, dead_letters
from stacks.constructs.function import Function


class AlertsStack(RoomStack):
    """One topic, and a function that alarms call. Messages carry the attribute `outcome`, for filter policies."""

    def __init__(
        self, scope: Construct, *, settings: Settings, function_code: Path, run_table: dynamodb.ITable
    ) -> None:
        super().__init__(scope, "alerts", settings=settings, description="Who is told, and in which words.")
        topic = sns.Topic(
            self,
            "Topic",
            display_name=f"rlpipe {settings.stage}",
            enforce_ssl=True,
            # Only our own functions publish. Alarms and EventBridge could not, so they call the function below.
            master_key=kms.Alias.from_alias_name(self, "Key", "alias/aws/sns"),
        )
        if settings.alerts.email:
            topic.add_subscription(subscriptions.EmailSubscription(settings.alerts.email))
        self.topic: sns.ITopic = topic
        self.alert_function: lambda_.IFunction = self._alert(settings, function_code, run_table)

    def _alert(self, settings: Settings, code: Path, run_table: dynamodb.ITable) -> Function:
        letters = dead_letters(self, "AlertDeadLetters")
        function = Function(
            self,
            "Alert",
            name="alert",
            code=code,
            settings=settings,
            environment={
                "TOPIC_ARN": self.topic.topic_arn,
                "RUN_TABLE": run_table.table_name,
                STAGE_VARIABLE: settings.stage,
            },
            timeout=30,
            dead_letters=letters,
        )
        for actions, resource in (
            (["sns:Publish"], self.topic.topic_arn),
            (["dynamodb:GetItem", "dynamodb:UpdateItem"], run_table.table_arn),
        ):
            function.add_to_role_policy(iam.PolicyStatement(actions=actions, resources=[resource]))
        # Those of the stacks, and those that the pipeline makes for its endpoints.
        function.add_permission(
            "Alarms",
            principal=iam.ServicePrincipal("lambda.alarms.cloudwatch.amazonaws.com"),
            source_arn=self.format_arn(
                service="cloudwatch",
                resource="alarm",
                resource_name="rlpipe-*",
                arn_format=ArnFormat.COLON_RESOURCE_NAME,
            ),
        )
        Alarms(self, settings=settings, action=function).of_dead_letters("Alerts", letters)
        return function
