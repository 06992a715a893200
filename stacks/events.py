"""What starts a run, what notices one that was ended from outside, and what finds its leftovers."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_events as events
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_lambda_event_sources as sources
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from config.settings import Settings
from contract.layout import DATA_FOLDER, RUN_FILE
from stacks.constructs.alarms import Alarms
from stacks.constructs.base import RoomStack, allow, dead_letters, delivered_to
from stacks.constructs.function import Function
from stacks.constructs.services import Services
from stacks.constructs.sweeper import Sweeper

_DATA_TIMEOUT = 30
"""Seconds of the function that hears of data."""


class EventsStack(RoomStack):
    """Rules on the default event bus. What cannot be delivered is kept in a queue for two weeks."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        function_code: Path,
        input_bucket: s3.IBucket,
        artifacts_bucket: s3.IBucket,
        run_table: dynamodb.ITable,
        job_queues: list[batch.IJobQueue],
        state_machine: sfn.IStateMachine,
        state_machine_name: str,
        finish_function: lambda_.IFunction,
        alert_function: lambda_.IFunction,
        model_role: iam.IRole,
        topic: sns.ITopic,
        services: Services | None,
    ) -> None:
        super().__init__(scope, "events", settings=settings, description="What starts runs and sees them ended.")
        self._dead_letters = dead_letters(self, "DeadLetters")
        Alarms(self, settings=settings, action=alert_function).of_dead_letters("Events", self._dead_letters)
        trigger = Function(
            self,
            "Trigger",
            name="trigger",
            code=function_code,
            settings=settings,
            environment={"STATE_MACHINE_ARN": state_machine.state_machine_arn},
            timeout=30,
            dead_letters=self._dead_letters,
        )
        state_machine.grant_start_execution(trigger)
        events.Rule(
            self,
            "RunFileDropped",
            description="A run.yaml was written to the input bucket.",
            # Not "suffix: run.yaml" alone, which `overrun.yaml` has too.
            event_pattern=_created(input_bucket, RUN_FILE, {"suffix": f"/{RUN_FILE}"}),
            targets=[delivered_to(trigger, or_kept_in=self._dead_letters)],
        )
        data_arrived = self._data_arrived(settings, function_code, input_bucket, state_machine, run_table)
        events.Rule(
            self,
            "DataDropped",
            description="A file was written below a folder data/ of the input bucket.",
            event_pattern=_created(input_bucket, {"prefix": f"{DATA_FOLDER}/"}, {"wildcard": f"*/{DATA_FOLDER}/*"}),
            targets=[delivered_to(data_arrived, or_kept_in=self._dead_letters)],
        )
        events.Rule(
            self,
            "ExecutionEndedFromOutside",
            description="An execution was aborted, timed out or broke, so its own last step may never have run.",
            event_pattern=events.EventPattern(
                source=["aws.states"],
                detail_type=["Step Functions Execution Status Change"],
                detail={
                    "stateMachineArn": [state_machine.state_machine_arn],
                    "status": ["ABORTED", "FAILED", "TIMED_OUT"],
                },
            ),
            targets=[delivered_to(finish_function, or_kept_in=self._dead_letters)],
        )
        if settings.sweeper.mode != "off":
            Sweeper(
                self,
                "Sweeper",
                settings=settings,
                function_code=function_code,
                artifacts_bucket=artifacts_bucket,
                run_table=run_table,
                job_queues=job_queues,
                state_machine=state_machine,
                state_machine_name=state_machine_name,
                finish_function=finish_function,
                model_role=model_role,
                topic=topic,
                dead_letters=self._dead_letters,
                services=services,
            )

    def _data_arrived(
        self,
        settings: Settings,
        code: Path,
        input_bucket: s3.IBucket,
        state_machine: sfn.IStateMachine,
        run_table: dynamodb.ITable,
    ) -> Function:
        waiting = sqs.Queue(
            self,
            "WaitingData",
            encryption=sqs.QueueEncryption.SQS_MANAGED,
            enforce_ssl=True,
            # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
            visibility_timeout=cdk.Duration.seconds(6 * _DATA_TIMEOUT),
            retention_period=cdk.Duration.days(14),
            dead_letter_queue=sqs.DeadLetterQueue(queue=self._dead_letters, max_receive_count=5),
        )
        function = Function(
            self,
            "DataArrived",
            name="data_arrived",
            code=code,
            settings=settings,
            environment={
                "STATE_MACHINE_ARN": state_machine.state_machine_arn,
                "RUN_TABLE": run_table.table_name,
                "QUEUE_URL": waiting.queue_url,
                "QUIET_SECONDS": str(settings.storage.data_quiet_seconds),
            },
            timeout=_DATA_TIMEOUT,
            dead_letters=self._dead_letters,
        )
        function.add_event_source(sources.SqsEventSource(waiting, batch_size=10, report_batch_item_failures=True))
        state_machine.grant_start_execution(function)
        for actions, resource in (
            (["s3:GetObject"], input_bucket.arn_for_objects(f"*{RUN_FILE}")),
            (["s3:ListBucket"], input_bucket.bucket_arn),  # else a run file that is not there reads as denied
            (["dynamodb:GetItem", "dynamodb:UpdateItem"], run_table.table_arn),
            (["sqs:SendMessage"], waiting.queue_arn),
        ):
            allow(function, actions, resource)
        return function


def _created(bucket: s3.IBucket, *keys: str | dict[str, str]) -> events.EventPattern:
    """An object was written under a key that one of these patterns matches."""
    return events.EventPattern(
        source=["aws.s3"],
        detail_type=["Object Created"],
        detail={"bucket": {"name": [bucket.bucket_name]}, "object": {"key": list(keys)}},
    )
