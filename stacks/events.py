"""What starts a run, and what notices one that was ended from outside."""

from pathlib import Path

import aws_cdk as cdk
from aws_cdk import aws_events as events
from aws_cdk import aws_events_targets as targets
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from config.settings import Settings
from contract.layout import RUN_FILE
from stacks.constructs.alarms import Alarms
from stacks.constructs.base import RoomStack, dead_letters
from stacks.constructs.function import Function


class EventsStack(RoomStack):
    """Rules on the default event bus. What cannot be delivered is kept in a queue for two weeks."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        function_code: Path,
        input_bucket: s3.IBucket,
        state_machine: sfn.IStateMachine,
        finish_function: lambda_.IFunction,
        alert_function: lambda_.IFunction,
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
            event_pattern=events.EventPattern(
                source=["aws.s3"],
                detail_type=["Object Created"],
                detail={
                    "bucket": {"name": [input_bucket.bucket_name]},
                    # Not "suffix: run.yaml" alone, which `overrun.yaml` has too.
                    "object": {"key": [RUN_FILE, {"suffix": f"/{RUN_FILE}"}]},
                },
            ),
            targets=[self._target(trigger)],
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
            targets=[self._target(finish_function)],
        )

    def _target(self, function: lambda_.IFunction) -> targets.LambdaFunction:
        return targets.LambdaFunction(
            function,
            dead_letter_queue=self._dead_letters,
            retry_attempts=10,
            max_event_age=cdk.Duration.hours(6),
        )
