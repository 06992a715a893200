"""The CloudWatch metrics: their names, units and dimensions, and the log lines that CloudWatch takes them from.

A line in the embedded metric format is one of the events of `contract.events`. CloudWatch Logs makes metrics of what
its `_aws` member names; everything else in it is for whoever queries the log, and costs nothing more.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from contract.events import Measured

NAMESPACE = "rlpipe"

# Dimensions
STAGE = "Stage"
EXPERIMENT = "Experiment"
RUN = "Run"
OUTCOME = "Outcome"
ENDPOINT = "Endpoint"

OF_A_RUN = (STAGE, EXPERIMENT, RUN)
"""Dimensions of what a training measures. Its seeds share them, so that a statistic is over all seeds of a run."""

OF_A_STAGE = (STAGE,)
OF_AN_OUTCOME = (STAGE, OUTCOME)
OF_AN_ENDPOINT = (STAGE, ENDPOINT)

# Environment variables of the jobs and functions
STAGE_VARIABLE = "RLPIPE_STAGE"
"""The stage that metrics belong to; without it none are printed."""

SECONDS_VARIABLE = "RLPIPE_METRICS_SECONDS"
"""Seconds between two lines of metrics of a training, or of a serving container; 60 when it is not set."""

ENDPOINT_VARIABLE = "RLPIPE_ENDPOINT"
"""The endpoint that a serving container belongs to; without it its lines are no metrics."""

MAX_VALUES = 100
"""Values that one metric of a line may have."""


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One metric.

    Attributes:
        unit: one of CloudWatch's.
        when: in words, when it is printed; a metric that is not printed for an hour costs nothing in that hour.
    """

    name: str
    unit: str
    meaning: str
    dimensions: tuple[str, ...] = OF_A_RUN
    when: str = "always"


EPISODE_RETURN = Metric(
    name="EpisodeReturn",
    unit="None",
    meaning="Returns of the last 100 finished episodes, each a value: its mean, least and best are statistics of it.",
)
EPISODE_RETURN_MEDIAN = Metric(
    name="EpisodeReturnMedian",
    unit="None",
    meaning="Their median; CloudWatch has no percentiles of values below 0.",
)
EPISODE_LENGTH = Metric(name="EpisodeLength", unit="Count", meaning="Mean length of those episodes, in steps.")
EVALUATION_RETURN = Metric(
    name="EvaluationReturn",
    unit="None",
    meaning="Mean return of the newest evaluation, by the best actions, of held-out episodes.",
    when="where the run file asks for evaluations",
)
LOSS = Metric(name="Loss", unit="None", meaning="The whole loss of the last update.", when="algorithms with one loss")
POLICY_LOSS = Metric(name="PolicyLoss", unit="None", meaning="The policy's, or actor's, part of it.")
VALUE_LOSS = Metric(name="ValueLoss", unit="None", meaning="The value function's, or critic's, part of it.")
ENTROPY = Metric(
    name="Entropy", unit="None", meaning="Mean entropy of the policy, in nats.", when="policies that have one"
)
APPROX_KL = Metric(
    name="ApproxKl", unit="None", meaning="How far the last update moved the policy, in nats.", when="PPO and its kin"
)
EXPLAINED_VARIANCE = Metric(
    name="ExplainedVariance",
    unit="None",
    meaning="How much of the returns the value function explains; 1 is all, 0 and less is nothing.",
    when="on-policy algorithms",
)
STEPS_PER_SECOND = Metric(name="StepsPerSecond", unit="Count/Second", meaning="Environment steps since the last line.")
PROGRESS = Metric(name="Progress", unit="Percent", meaning="Steps done, of all.")
TRAINING_SECONDS = Metric(name="TrainingSeconds", unit="Seconds", meaning="Training so far, over all attempts.")
CHECKPOINT_AGE = Metric(
    name="CheckpointAge", unit="Seconds", meaning="Work that would be lost if the instance were taken away now."
)
COST = Metric(
    name="CostUsd", unit="None", meaning="Of this training so far, at the price of the stage's settings, in dollars."
)
BUDGET_USED = Metric(
    name="BudgetUsed",
    unit="Percent",
    meaning="Of the run file's `limits.max_cost_usd`.",
    when="where the run file limits the cost",
)
GPU_UTILIZATION = Metric(
    name="GpuUtilization", unit="Percent", meaning="Time in which the GPU computed.", when="where there is a GPU"
)
GPU_MEMORY = Metric(name="GpuMemoryUsed", unit="Percent", meaning="Of the GPU's memory.", when="where there is a GPU")
RETURN_DROP = Metric(
    name="ReturnDrop",
    unit="None",
    meaning="How much of what was learnt is lost: 0 at its best mean return, 1 when it is as bad as ever.",
)
LOSS_NOT_FINITE = Metric(
    name="LossNotFinite", unit="Count", meaning="A loss or a weight was NaN or infinite.", when="when it happens"
)
ENTROPY_COLLAPSE = Metric(
    name="EntropyCollapse",
    unit="Count",
    meaning="The policy hardly explores any more, and does not reach the return that it should.",
    when="while it lasts",
)
CHECKPOINT_OVERDUE = Metric(
    name="CheckpointOverdue",
    unit="Seconds",
    meaning="By how much a checkpoint is older than the run file's `checkpoint.every_seconds`.",
    when="while one is due",
)
WITHOUT_STEP = Metric(
    name="SecondsWithoutStep",
    unit="Seconds",
    meaning="Since the training's last step.",
    when="while there is none for a minute",
)

RUNS_ENDED = Metric(
    name="RunsEnded",
    unit="Count",
    meaning="Runs that ended, by their outcome.",
    dimensions=OF_AN_OUTCOME,
    when="when it happens",
)
JOBS_FAILED = Metric(
    name="JobsFailed",
    unit="Count",
    meaning="Batch jobs that failed by themselves: not paused, stopped, or ended by a limit.",
    dimensions=OF_A_STAGE,
    when="when it happens",
)
QUEUES_BLOCKED = Metric(
    name="QueuesBlocked",
    unit="Count",
    meaning="Times that Batch said a job holds back its queue.",
    dimensions=OF_A_STAGE,
    when="when it happens",
)

REQUESTS = Metric(
    name="Requests",
    unit="Count",
    meaning="Requests that a serving container answered, those it refused among them.",
    dimensions=OF_AN_ENDPOINT,
    when="while there are requests",
)
REQUESTS_REFUSED = Metric(
    name="RequestsRefused",
    unit="Count",
    meaning="Those that were not what the policy takes: answers 400 to 499.",
    dimensions=OF_AN_ENDPOINT,
    when="while there are requests",
)
REQUESTS_FAILED = Metric(
    name="RequestsFailed",
    unit="Count",
    meaning="Those that the container could not answer: 500 and more.",
    dimensions=OF_AN_ENDPOINT,
    when="while there are requests",
)
REQUEST_LATENCY = Metric(
    name="RequestLatency",
    unit="Milliseconds",
    meaning="From the last byte of a request to its answer, of up to 100 requests for actions, the slowest among them.",
    dimensions=OF_AN_ENDPOINT,
    when="while there are requests",
)
INPUT_DRIFT = Metric(
    name="InputDrift",
    unit="None",
    meaning="Population stability index of the element of the observations that differs most from what the policy "
    "saw in validation; above 0.25 is commonly a shift.",
    dimensions=OF_AN_ENDPOINT,
    when="where at least 200 observations were looked at",
)
OBSERVATIONS_MEASURED = Metric(
    name="ObservationsMeasured",
    unit="Count",
    meaning="Observations that the drift rests on.",
    dimensions=OF_AN_ENDPOINT,
    when="where at least 200 observations were looked at",
)
CAPTURED_DRIFT = Metric(
    name="CapturedDrift",
    unit="None",
    meaning="Population stability index of the element of the captured observations that differs most from what the "
    "policy saw in validation, over the last day.",
    dimensions=("EndpointName",),
    when="each hour, where a run asks for `deploy.drift` and at least 200 observations were captured",
)

METRICS = tuple(value for value in list(globals().values()) if isinstance(value, Metric))
"""All of them."""

MEASURED: Mapping[str, Metric] = {
    "loss": LOSS,
    "policy_gradient_loss": POLICY_LOSS,
    "policy_loss": POLICY_LOSS,
    "actor_loss": POLICY_LOSS,
    "value_loss": VALUE_LOSS,
    "critic_loss": VALUE_LOSS,
    "entropy": ENTROPY,
    "approx_kl": APPROX_KL,
    "explained_variance": EXPLAINED_VARIANCE,
}
"""Metrics by what Stable-Baselines3 calls their values. What else an algorithm measures is in the line's `measured`."""


def measured(
    values: Mapping[Metric, float | Sequence[float]], dimensions: Mapping[str, str], **properties: Any
) -> Measured:
    """The event that CloudWatch makes metrics of; NaN and infinite values are left out.

    :param values: a number, or up to 100 of them, for each metric; all metrics have the same dimensions.
    :param dimensions: a value for each of those dimensions.
    :param properties: what else the line is to say.
    """
    numbers = {metric: _finite(value) for metric, value in values.items()}
    numbers = {metric: value for metric, value in numbers.items() if value != []}
    [names] = {metric.dimensions for metric in numbers} or {()}
    directive = {
        "Namespace": NAMESPACE,
        "Dimensions": [list(names)],
        "Metrics": [{"Name": metric.name, "Unit": metric.unit} for metric in numbers],
    }
    event = {
        "event": "metrics",
        **properties,
        **{name: dimensions[name] for name in names},
        **{metric.name: value for metric, value in numbers.items()},
        "_aws": {"Timestamp": int(time.time() * 1000), "CloudWatchMetrics": [directive] if numbers else []},
    }
    return cast("Measured", event)


def _finite(value: float | Sequence[float]) -> float | list[float]:
    values = [value] if isinstance(value, int | float) else list(value)[-MAX_VALUES:]
    finite = [float(f"{number:.6g}") for number in values if math.isfinite(number)]
    return finite[0] if isinstance(value, int | float) and finite else finite
