"""Who is told of the ends of runs and of what is wrong, and the function that puts the latter into words."""

from pathlib import Path
from typing import Any

from aws_cdk import ArnFormat
from aws_cdk import aws_budgets as budgets
from aws_cdk import aws_chatbot as chatbot
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
from stacks.constructs.base import RoomStack, allow, dead_letters
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
        if settings.alerts.slack or settings.alerts.teams:
            self._chat(settings, topic)
        if settings.alerts.monthly_budget_usd:
            self._budget(settings)
        self.alert_function: lambda_.IFunction = self._alert(settings, function_code, run_table)

    def _chat(self, settings: Settings, topic: sns.ITopic) -> None:
        """Channels of Amazon Q Developer in chat applications: they are told, and nobody commands AWS from them.

        Without guardrails of its own a channel would have those of an administrator.
        https://docs.aws.amazon.com/chatbot/latest/adminguide/understanding-permissions.html
        """
        role = iam.Role(
            self,
            "ChatRole",
            description="What can be done from the chat: nothing.",
            assumed_by=iam.ServicePrincipal("chatbot.amazonaws.com"),
        )
        shared: dict[str, Any] = {
            "iam_role_arn": role.role_arn,
            "sns_topic_arns": [topic.topic_arn],
            "guardrail_policies": [f"arn:{self.partition}:iam::aws:policy/AWSDenyAll"],
            "logging_level": "ERROR",
        }
        if slack := settings.alerts.slack:
            chatbot.CfnSlackChannelConfiguration(
                self,
                "Slack",
                configuration_name=f"rlpipe-{settings.stage}-slack",
                slack_workspace_id=slack.workspace_id,
                slack_channel_id=slack.channel_id,
                **shared,
            )
        if teams := settings.alerts.teams:
            chatbot.CfnMicrosoftTeamsChannelConfiguration(
                self,
                "Teams",
                configuration_name=f"rlpipe-{settings.stage}-teams",
                teams_tenant_id=teams.tenant_id,
                team_id=teams.team_id,
                teams_channel_id=teams.channel_id,
                **shared,
            )

    def _budget(self, settings: Settings) -> None:
        """A budget of the month; the tag `stage` must be activated for cost allocation once, in the payer's account.

        https://docs.aws.amazon.com/awsaccountbilling/latest/aboutv2/activating-tags.html
        """
        reader = budgets.CfnBudget.SubscriberProperty(subscription_type="EMAIL", address=settings.alerts.email or "")
        budgets.CfnBudget(
            self,
            "Budget",
            budget=budgets.CfnBudget.BudgetDataProperty(
                budget_name=f"rlpipe-{settings.stage}",
                budget_type="COST",
                time_unit="MONTHLY",
                budget_limit=budgets.CfnBudget.SpendProperty(
                    amount=settings.alerts.monthly_budget_usd or 0, unit="USD"
                ),
                cost_filters={"TagKeyValue": [f"user:stage${settings.stage}"]},
            ),
            notifications_with_subscribers=[
                budgets.CfnBudget.NotificationWithSubscribersProperty(
                    notification=budgets.CfnBudget.NotificationProperty(
                        comparison_operator="GREATER_THAN", notification_type=kind, threshold=percent
                    ),
                    subscribers=[reader],
                )
                for kind, percent in (("ACTUAL", 80), ("FORECASTED", 100))
            ],
        )

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
        allow(function, ["sns:Publish"], self.topic.topic_arn)
        allow(function, ["dynamodb:GetItem", "dynamodb:UpdateItem"], run_table.table_arn)
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
