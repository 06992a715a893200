"""Who hears about the ends of runs."""

from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from config.settings import Settings
from stacks.constructs.base import RoomStack


class AlertsStack(RoomStack):
    """One topic. Messages carry the attribute `outcome`, for filter policies."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        super().__init__(scope, "alerts", settings=settings, description="Notifications about runs.")
        topic = sns.Topic(
            self,
            "Topic",
            display_name=f"rlpipe {settings.stage}",
            enforce_ssl=True,
            # Only our own functions publish. Alarms and EventBridge could not: they need a key of the account's own.
            master_key=kms.Alias.from_alias_name(self, "Key", "alias/aws/sns"),
        )
        if settings.alerts.email:
            topic.add_subscription(subscriptions.EmailSubscription(settings.alerts.email))
        self.topic: sns.ITopic = topic
