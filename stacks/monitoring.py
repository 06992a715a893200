"""What watches a stage: alarms, and the rules that tell of what Batch says."""

from collections.abc import Sequence

import aws_cdk as cdk
from aws_cdk import aws_batch as batch
from aws_cdk import aws_events as events
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from config.settings import Settings
from contract.alarms import ALARMS, OF_A_STAGE, OF_RUNS, alarm_name
from contract.metrics import OUTCOME
from contract.outcomes import Outcome
from stacks.constructs.alarms import MINUTE, Alarms
from stacks.constructs.base import RoomStack, dead_letters, delivered_to
from stacks.constructs.dashboards import Dashboards

_DEAD_LETTERS = ("Alerts", "Control", "Endpoints", "Events", "Finish", "Rules")
"""The places that have a queue of what they could not handle."""


def alarm_names(stage: str) -> list[str]:
    """What the alarms of a stage's stacks are called, those of runs first."""
    of_queues = next(alarm for alarm in OF_A_STAGE if alarm.name == "DeadLetters")
    return [
        *(alarm_name(stage, alarm) for alarm in (*OF_RUNS, *OF_A_STAGE) if alarm is not of_queues),
        *(alarm_name(stage, of_queues, place) for place in _DEAD_LETTERS),
    ]


class MonitoringStack(RoomStack):
    """Alarms on what trainings, runs and jobs tell."""

    def __init__(
        self,
        scope: Construct,
        *,
        settings: Settings,
        alert_function: lambda_.IFunction,
        job_queues: Sequence[batch.IJobQueue],
        state_machine: sfn.IStateMachine,
    ) -> None:
        super().__init__(scope, "monitoring", settings=settings, description="What watches trainings, runs and jobs.")
        self._alert = alert_function
        self._dead_letters = dead_letters(self, "RuleDeadLetters")
        alarms = Alarms(self, settings=settings, action=alert_function)
        named = {alarm.name: alarm for alarm in ALARMS}
        limits = settings.alerts
        alarms.of_each_run(named["LossNotFinite"], above=0)
        alarms.of_each_run(named["EntropyCollapse"], above=0, minutes=limits.patience_minutes)
        alarms.of_each_run(named["ReturnDrop"], above=limits.return_drop, minutes=limits.patience_minutes)
        alarms.of_each_run(named["CheckpointOverdue"], above=limits.checkpoint_overdue_minutes * MINUTE)
        alarms.of_each_run(named["NoProgress"], above=limits.without_step_minutes * MINUTE)
        alarms.of_each_run(named["BudgetUsed"], above=limits.budget_percent)
        alarms.of_the_stage(named["RunFailed"], **{OUTCOME: Outcome.FAILED})
        alarms.of_the_stage(named["JobFailed"])
        alarms.of_the_stage(named["QueueBlocked"])
        alarms.of_service(
            named["RunTimedOut"],
            namespace="AWS/States",
            metric_name="ExecutionsTimedOut",
            dimensions={"StateMachineArn": state_machine.state_machine_arn},
        )
        alarms.of_dead_letters("Rules", self._dead_letters)
        dashboards = Dashboards(self, settings=settings)
        dashboards.fleet([self._alarm_arn(name) for name in alarm_names(settings.stage)])
        dashboards.endpoint()
        of_our_queues = {"jobQueue": [queue.job_queue_arn for queue in job_queues]}
        self._tell("QueueBlocked", "A job holds back its queue.", "Batch Job Queue Blocked", of_our_queues)
        self._tell("JobFailed", "A job failed.", "Batch Job State Change", {**of_our_queues, "status": ["FAILED"]})

    def _alarm_arn(self, name: str) -> str:
        return self.format_arn(
            service="cloudwatch", resource="alarm", resource_name=name, arn_format=cdk.ArnFormat.COLON_RESOURCE_NAME
        )

    def _tell(self, construct_id: str, description: str, detail_type: str, detail: dict[str, list[str]]) -> None:
        events.Rule(
            self,
            construct_id,
            description=description,
            event_pattern=events.EventPattern(source=["aws.batch"], detail_type=[detail_type], detail=detail),
            targets=[delivered_to(self._alert, or_kept_in=self._dead_letters)],
        )
