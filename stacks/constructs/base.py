"""What every stack has in common."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from config.settings import Settings

ADDRESSES = "10.40.0.0/16"
"""Of the network."""

_RETENTION = {
    1: logs.RetentionDays.ONE_DAY,
    3: logs.RetentionDays.THREE_DAYS,
    7: logs.RetentionDays.ONE_WEEK,
    14: logs.RetentionDays.TWO_WEEKS,
    30: logs.RetentionDays.ONE_MONTH,
    60: logs.RetentionDays.TWO_MONTHS,
    90: logs.RetentionDays.THREE_MONTHS,
    180: logs.RetentionDays.SIX_MONTHS,
    365: logs.RetentionDays.ONE_YEAR,
    731: logs.RetentionDays.TWO_YEARS,
    1827: logs.RetentionDays.FIVE_YEARS,
    3653: logs.RetentionDays.TEN_YEARS,
}


class RoomStack(cdk.Stack):
    """One room of one stage, named `rlpipe-<stage>-<room>`."""

    def __init__(self, scope: Construct, room: str, *, settings: Settings, description: str) -> None:
        super().__init__(
            scope,
            f"rlpipe-{settings.stage}-{room}",
            env=cdk.Environment(account=settings.account, region=settings.region),
            description=description,
            termination_protection=settings.protect,
            tags={"project": "rlpipe", "stage": settings.stage},
        )


def removal_policy(settings: Settings) -> cdk.RemovalPolicy:
    """What becomes of data when its stack is deleted."""
    return cdk.RemovalPolicy.RETAIN if settings.protect else cdk.RemovalPolicy.DESTROY


def log_group(scope: Construct, construct_id: str, *, settings: Settings) -> logs.LogGroup:
    """A log group with a name of CloudFormation's choosing, so that stages and re-deployments never collide."""
    return logs.LogGroup(
        scope,
        construct_id,
        retention=_RETENTION[settings.log_retention_days],
        removal_policy=removal_policy(settings),
    )


def dead_letters(scope: Construct, construct_id: str) -> sqs.Queue:
    """A queue that keeps what could not be handled for two weeks."""
    return sqs.Queue(
        scope,
        construct_id,
        encryption=sqs.QueueEncryption.SQS_MANAGED,
        enforce_ssl=True,
        retention_period=cdk.Duration.days(14),
    )


def delivered_to(function: lambda_.IFunction, *, or_kept_in: sqs.IQueue) -> targets.LambdaFunction:
    """A function as the target of a rule: tried again for six hours, then the event is kept."""
    return targets.LambdaFunction(
        function, dead_letter_queue=or_kept_in, retry_attempts=10, max_event_age=cdk.Duration.hours(6)
    )


def allow(
    grantee: iam.IGrantable, actions: Sequence[str], *resources: str, when: dict[str, dict[str, str]] | None = None
) -> None:
    """Let a role, or what has one, do this with resources by their ARNs."""
    grantee.grant_principal.add_to_principal_policy(
        iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=when)
    )
