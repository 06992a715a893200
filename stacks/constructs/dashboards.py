"""CloudWatch dashboards, drawn from the tables of metrics and alarms.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/CloudWatch-Dashboard-Body-Structure.html
"""

from collections.abc import Sequence
from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from config.settings import Settings
from contract import metrics
from contract.metrics import ENDPOINT, NAMESPACE, STAGE, Metric
from contract.outcomes import Outcome

_COLUMNS = 24
_IN_A_ROW = 3
_MINUTE = cdk.Duration.minutes(1)
_SAGEMAKER = "AWS/SageMaker"
_VARIANT = "policy"
"""The one production variant of every endpoint."""
_CHOSEN = "ENDPOINT-CHOSEN-ABOVE"
"""Stands in the endpoint dashboard for the endpoint that its reader chooses."""


@dataclass(frozen=True)
class Chart:
    """One chart: a line for each run, or for each endpoint, of each metric."""

    title: str
    metrics: tuple[Metric, ...]
    statistic: str = "Average"


OF_LEARNING = (
    Chart("Learning curves: mean return of the last 100 episodes", (metrics.EPISODE_RETURN,)),
    Chart("Median return of those episodes", (metrics.EPISODE_RETURN_MEDIAN,)),
    Chart("Evaluations by the best actions", (metrics.EVALUATION_RETURN,)),
    Chart("Length of an episode", (metrics.EPISODE_LENGTH,)),
    Chart("Loss", (metrics.LOSS, metrics.POLICY_LOSS, metrics.VALUE_LOSS)),
    Chart("Entropy of the policy, in nats", (metrics.ENTROPY,)),
    Chart("How far an update moved the policy, in nats", (metrics.APPROX_KL,)),
    Chart("Explained variance", (metrics.EXPLAINED_VARIANCE,)),
)
OF_WORK = (
    Chart("Progress, %", (metrics.PROGRESS,), "Minimum"),
    Chart("Steps a second", (metrics.STEPS_PER_SECOND,)),
    Chart("Training time, seconds", (metrics.TRAINING_SECONDS,), "Maximum"),
    Chart("Cost of one seed so far, USD", (metrics.COST,), "Maximum"),
    Chart("Of the cost limit, %", (metrics.BUDGET_USED,), "Maximum"),
    Chart("Age of the newest checkpoint, seconds", (metrics.CHECKPOINT_AGE,), "Maximum"),
    Chart("GPU: time in which it computed, %", (metrics.GPU_UTILIZATION,)),
    Chart("GPU: memory in use, %", (metrics.GPU_MEMORY,), "Maximum"),
)
OF_TROUBLE = (
    Chart("Of what was learnt, the share that is lost again", (metrics.RETURN_DROP,), "Maximum"),
    Chart("Losses that are no number; collapsed entropies", (metrics.LOSS_NOT_FINITE, metrics.ENTROPY_COLLAPSE), "Sum"),
    Chart("Seconds that a checkpoint is late", (metrics.CHECKPOINT_OVERDUE,), "Maximum"),
    Chart("Seconds without a step", (metrics.WITHOUT_STEP,), "Maximum"),
)
OF_POLICIES = (
    Chart("Requests that its containers answered", (metrics.REQUESTS,), "Sum"),
    Chart("Of them refused (4xx) and failed (5xx)", (metrics.REQUESTS_REFUSED, metrics.REQUESTS_FAILED), "Sum"),
    Chart("Milliseconds in the container, 95 of 100 requests", (metrics.REQUEST_LATENCY,), "p95"),
    Chart("Drift of what a container is asked", (metrics.INPUT_DRIFT,), "Maximum"),
    Chart("Observations that this rests on", (metrics.OBSERVATIONS_MEASURED,), "Sum"),
    Chart("Drift of what was captured in a day", (metrics.CAPTURED_DRIFT,), "Maximum"),
)


class Dashboards:
    """The dashboards of one stage: all that runs, and one endpoint that its reader chooses."""

    def __init__(self, scope: Construct, *, settings: Settings) -> None:
        self._scope = scope
        self._stage = settings.stage

    def fleet(self, alarms: Sequence[str]) -> None:
        """What is wrong, what ended how, and each run of the last hours; `alarms` are the ARNs of those to show."""
        shown = [cloudwatch.Alarm.from_alarm_arn(self._scope, f"Shown{n}", arn) for n, arn in enumerate(alarms)]
        self._make(
            "Fleet",
            [
                _text(
                    f"# rlpipe, stage {self._stage}",
                    "A line is a run, over all its seeds. What to type: `rlpipe runs`, "
                    "`rlpipe show RUN`, `rlpipe report RUN`; `rlpipe ui` has the same as a page, with films and logs.",
                )
            ],
            [cloudwatch.AlarmStatusWidget(title="Alarms", alarms=shown, width=_COLUMNS, height=4)],
            [
                self._counts("Ends of runs", *(self._one(metrics.RUNS_ENDED, end, Outcome=end) for end in Outcome)),
                self._counts("Jobs that failed", self._one(metrics.JOBS_FAILED)),
                self._counts("Blocked queues", self._one(metrics.QUEUES_BLOCKED)),
            ],
            *self._section("Learning", OF_LEARNING),
            *self._section("Work and cost", OF_WORK),
            *self._section("Trouble", OF_TROUBLE),
        )

    def endpoint(self) -> None:
        """Requests, answers and drift of one endpoint."""
        variable = cloudwatch.DashboardVariable(
            id="endpoint",
            label="Endpoint",
            type=cloudwatch.VariableType.PATTERN,
            value=_CHOSEN,
            input_type=cloudwatch.VariableInputType.SELECT,
            values=cloudwatch.Values.from_search(
                f'{{{_SAGEMAKER},EndpointName,VariantName}} MetricName="Invocations"', "EndpointName"
            ),
            default_value=cloudwatch.DefaultValue.FIRST,
        )
        self._make(
            "Endpoint",
            [
                _text(
                    "# One endpoint",
                    "Choose it above. What to type: `rlpipe endpoints list`, "
                    "`rlpipe endpoints off NAME`, `rlpipe predict NAME --observation '[...]'`.",
                )
            ],
            [
                _graph("Requests", [_sagemaker("Invocations", "Sum")]),
                _graph(
                    "Refused (4xx) and failed (5xx)",
                    [_sagemaker("Invocation4XXErrors", "Sum"), _sagemaker("Invocation5XXErrors", "Sum")],
                ),
                _graph(
                    "Time that the model takes, microseconds",
                    [_sagemaker("ModelLatency", statistic) for statistic in ("p50", "p90", "p99")],
                ),
            ],
            *self._section("What its containers say", OF_POLICIES),
            variables=[variable],
        )

    def _make(
        self,
        name: str,
        *rows: list[cloudwatch.IWidget],
        variables: Sequence[cloudwatch.IVariable] = (),
    ) -> None:
        cloudwatch.Dashboard(
            self._scope,
            f"{name}Dashboard",
            dashboard_name=f"rlpipe-{self._stage}-{name.lower()}",
            default_interval=cdk.Duration.hours(3),
            widgets=list(rows),
            variables=list(variables),
        )

    def _section(self, title: str, charts: Sequence[Chart]) -> list[list[cloudwatch.IWidget]]:
        drawn = [
            _graph(
                chart.title,
                [self._search(metric, chart.statistic) for metric in chart.metrics],
            )
            for chart in charts
        ]
        return [[_text(f"## {title}", height=1)], *(drawn[n : n + _IN_A_ROW] for n in range(0, len(drawn), _IN_A_ROW))]

    def _search(self, metric: Metric, statistic: str) -> cloudwatch.IMetric:
        """Every time series of a metric that had a value lately: a line for each run, or the one of an endpoint."""
        found = {STAGE: self._stage, ENDPOINT: _CHOSEN, "EndpointName": _CHOSEN}
        wanted = " ".join(f'{name}="{found[name]}"' for name in metric.dimensions if name in found)
        expression = f'{{{",".join((NAMESPACE, *metric.dimensions))}}} MetricName="{metric.name}" {wanted}'
        return cloudwatch.MathExpression(
            expression=f"SEARCH('{expression}', '{statistic}')",
            label=f"{metric.name} ${{PROP('Dim.{metric.dimensions[-1]}')}}",
            period=_MINUTE,
        )

    def _one(self, metric: Metric, label: str = "", **more: str) -> cloudwatch.IMetric:
        values = {STAGE: self._stage, **more}
        return cloudwatch.Metric(
            namespace=NAMESPACE,
            metric_name=metric.name,
            dimensions_map={name: values[name] for name in metric.dimensions},
            label=label or metric.name,
            statistic="Sum",
            period=cdk.Duration.hours(1),
        )

    def _counts(self, title: str, *counted: cloudwatch.IMetric) -> cloudwatch.IWidget:
        """How often something happened in the time that is shown."""
        return cloudwatch.SingleValueWidget(
            title=title, metrics=list(counted), set_period_to_time_range=True, width=_COLUMNS // 3, height=4
        )


def _graph(title: str, drawn: Sequence[cloudwatch.IMetric]) -> cloudwatch.IWidget:
    return cloudwatch.GraphWidget(
        title=title,
        left=list(drawn),
        width=_COLUMNS // _IN_A_ROW,
        height=6,
        live_data=True,
        left_y_axis=cloudwatch.YAxisProps(show_units=False),
    )


def _sagemaker(name: str, statistic: str) -> cloudwatch.IMetric:
    """A metric that SageMaker publishes of every endpoint."""
    return cloudwatch.Metric(
        namespace=_SAGEMAKER,
        metric_name=name,
        dimensions_map={"EndpointName": _CHOSEN, "VariantName": _VARIANT},
        label=f"{name} {statistic}",
        statistic=statistic,
        period=_MINUTE,
    )


def _text(heading: str, paragraph: str = "", *, height: int = 2) -> cloudwatch.IWidget:
    return cloudwatch.TextWidget(
        markdown=f"{heading}\n{paragraph}".strip(),
        width=_COLUMNS,
        height=height,
        background=cloudwatch.TextWidgetBackground.TRANSPARENT,
    )
