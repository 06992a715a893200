"""What is known of every run: one item a run, written by the pipeline and by commands, read by everything."""

from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from config.settings import Settings
from contract.record import LISTED, NEWEST_FIRST
from stacks.constructs.base import RoomStack, removal_policy


class RunsStack(RoomStack):
    """The run table. Items stay for good: they are small, and the only list of what was ever trained."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        super().__init__(scope, "runs", settings=settings, description="The record of every run.")
        table = dynamodb.Table(
            self,
            "Runs",
            partition_key=dynamodb.Attribute(name="run_id", type=dynamodb.AttributeType.STRING),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            deletion_protection=settings.protect,
            removal_policy=removal_policy(settings),
        )
        table.add_global_secondary_index(
            index_name=NEWEST_FIRST,
            partition_key=dynamodb.Attribute(name="kind", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="submitted_at", type=dynamodb.AttributeType.STRING),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            non_key_attributes=list(LISTED),
        )
        self.table: dynamodb.ITable = table
