"""CloudWatch alarms, made of the table in `contract.alarms`."""

from typing import Any

from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sqs as sqs
from constructs import Construct

from config.settings import Settings
from contract import metrics
from contract.alarms import OF_A_STAGE, Alarm, alarm_name
from contract.metrics import NAMESPACE, OF_A_RUN

MINUTE = 60
"""Seconds of a period; CloudWatch keeps one value a minute."""


class Alarms:
    """Makes the alarms of one stage; each that has something to tell calls `action`."""

    def __init__(self, scope: Construct, *, settings: Settings, action: lambda_.IFunction) -> None:
        self._scope = scope
        self._stage = settings.stage
        self._action = action

    def of_each_run(self, alarm: Alarm, *, above: float, minutes: int = 1) -> None:
        """One alarm over all runs, in which each run has a state of its own: a query that groups by the run.

        https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create_Metrics_Insights_Alarm.html

        :param minutes: in so many minutes the metric must be above, one of them may have no value.
        """
        assert alarm.metric is not None
        select = f"SELECT {alarm.statistic}({alarm.metric.name})"
        schema = f'FROM SCHEMA("{NAMESPACE}", {", ".join(OF_A_RUN)})'
        where = f"WHERE {metrics.STAGE} = '{self._stage}' GROUP BY {metrics.EXPERIMENT}, {metrics.RUN}"
        query = f"{select} {schema} {where} ORDER BY {alarm.statistic}() DESC"
        self._make(
            alarm,
            above=above,
            metrics=[
                cloudwatch.CfnAlarm.MetricDataQueryProperty(
                    id="runs", expression=query, period=MINUTE, return_data=True
                )
            ],
            evaluation_periods=minutes + 1 if minutes > 1 else 1,
            datapoints_to_alarm=minutes,
        )

    def of_the_stage(self, alarm: Alarm, **dimensions: str) -> None:
        """An alarm at the first of what its metric counts."""
        assert alarm.metric is not None
        values = {metrics.STAGE: self._stage, **dimensions}
        self._count(
            alarm,
            namespace=NAMESPACE,
            metric_name=alarm.metric.name,
            dimensions={name: values[name] for name in alarm.metric.dimensions},
        )

    def of_service(self, alarm: Alarm, *, namespace: str, metric_name: str, dimensions: dict[str, str]) -> None:
        """An alarm at the first of what an AWS service counts."""
        self._count(alarm, namespace=namespace, metric_name=metric_name, dimensions=dimensions)

    def of_dead_letters(self, place: str, queue: sqs.IQueue) -> None:
        """An alarm while there is a message in a queue of what could not be handled."""
        [alarm] = [it for it in OF_A_STAGE if it.name == "DeadLetters"]
        self._count(
            alarm,
            place=place,
            namespace="AWS/SQS",
            metric_name="ApproximateNumberOfMessagesVisible",
            dimensions={"QueueName": queue.queue_name},
            statistic="Maximum",
            period=5 * MINUTE,
        )

    def _count(
        self,
        alarm: Alarm,
        *,
        namespace: str,
        metric_name: str,
        dimensions: dict[str, str],
        statistic: str = "Sum",
        period: int = MINUTE,
        place: str = "",
    ) -> None:
        self._make(
            alarm,
            place=place,
            above=0,
            namespace=namespace,
            metric_name=metric_name,
            dimensions=[
                cloudwatch.CfnAlarm.DimensionProperty(name=key, value=value) for key, value in dimensions.items()
            ],
            statistic=statistic,
            period=period,
            evaluation_periods=1,
        )

    def _make(self, alarm: Alarm, *, above: float, place: str = "", **settings: Any) -> None:
        commands = " / ".join(alarm.commands_for({"run": "RUN", "queue": "QUEUE"}))
        cloudwatch.CfnAlarm(
            self._scope,
            f"{place}{alarm.name}Alarm",
            alarm_name=alarm_name(self._stage, alarm, place),
            alarm_description=f"{alarm.title[0].upper()}{alarm.title[1:]}. {alarm.meaning} {alarm.why} "
            f"What to do: {alarm.advice} {commands}",
            comparison_operator="GreaterThanThreshold",
            threshold=above,
            treat_missing_data="notBreaching",
            alarm_actions=[self._action.function_arn] if alarm.tells else [],
            **settings,
        )
