"""The alarms of an endpoint: made and pointed at a policy before it gets traffic, deleted with the endpoint."""

import os
from typing import Any

import boto3

from contract.metrics import CAPTURED_DRIFT, NAMESPACE
from contract.run import DeploySection
from lambdas.endpoints.hosting import VARIANT

_cloudwatch = boto3.client("cloudwatch")

_NAMESPACE = "AWS/SageMaker"
_DAY = 86_400


def names(endpoint: str) -> dict[str, str]:
    """The names of an endpoint's alarms, by what they watch."""
    return {kind: f"rlpipe-{endpoint}-{kind}" for kind in ("errors", "latency", "idle", "drift")}


def watch(endpoint: str, run_id: str, deploy: DeploySection) -> list[str]:
    """Let the alarms watch the policy of one run; the names of those that a deployment to it goes back on.

    They look at the fleet of this policy alone, whatever the one beside it does.
    https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html
    """
    alarm = names(endpoint)
    fleet = [*_of(endpoint), {"Name": "EndpointConfigName", "Value": run_id}]
    _put(
        alarm["errors"],
        f"More than {deploy.max_error_percent:g} % of the requests to {endpoint} fail.",
        MetricName="Invocation5XXErrors",
        Dimensions=fleet,
        Statistic="Average",
        Period=60,
        Threshold=deploy.max_error_percent / 100,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    _put(
        alarm["latency"],
        f"{endpoint} takes more than {deploy.max_latency_ms:g} ms for one request in ten.",
        MetricName="ModelLatency",
        Dimensions=fleet,
        ExtendedStatistic="p90",
        Period=60,
        Threshold=deploy.max_latency_ms * 1000,  # the metric is in microseconds
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    watched = [alarm["errors"], alarm["latency"]]
    for name in watched:
        # What they said of another policy does not count for this one.
        _cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason=f"It watches {run_id} now.")
    _put(
        alarm["idle"],
        f"Nobody has called {endpoint} for a day, and it is paid for: rlpipe endpoints off {endpoint}",
        MetricName="Invocations",
        Dimensions=_of(endpoint),
        Statistic="Sum",
        Period=_DAY,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
        # Nothing is counted where nobody asks. Were that breaching, the alarm of a new endpoint would ring at once.
        TreatMissingData="missing",
        InsufficientDataActions=[os.environ["ALERT_FUNCTION_ARN"]],
    )
    if deploy.drift:
        _put(
            alarm["drift"],
            f"What {endpoint} is asked is no longer what its policy was validated on; see drift/{endpoint}.json.",
            Namespace=NAMESPACE,
            MetricName=CAPTURED_DRIFT.name,
            Dimensions=[{"Name": "EndpointName", "Value": endpoint}],
            Statistic="Maximum",
            Period=3600,
            Threshold=deploy.drift.max_index,
            ComparisonOperator="GreaterThanThreshold",
            TreatMissingData="ignore",
        )
    else:
        _cloudwatch.delete_alarms(AlarmNames=[alarm["drift"]])
    return watched


def forget(endpoint: str) -> None:
    """Delete an endpoint's alarms."""
    _cloudwatch.delete_alarms(AlarmNames=list(names(endpoint).values()))


def ringing(endpoint: str) -> list[str]:
    """Why the alarms of an endpoint ring, in CloudWatch's words."""
    found = _cloudwatch.describe_alarms(AlarmNames=list(names(endpoint).values()), StateValue="ALARM")
    return [f"{alarm['AlarmName']}: {alarm['StateReason']}" for alarm in found["MetricAlarms"]]


def _of(endpoint: str) -> list[dict[str, str]]:
    return [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": VARIANT}]


def _put(name: str, description: str, **settings: Any) -> None:
    _cloudwatch.put_metric_alarm(
        AlarmName=name,
        AlarmDescription=description,
        EvaluationPeriods=1,
        AlarmActions=[os.environ["ALERT_FUNCTION_ARN"]],
        Tags=[{"Key": "project", "Value": "rlpipe"}],
        **{"Namespace": _NAMESPACE, **settings},
    )
