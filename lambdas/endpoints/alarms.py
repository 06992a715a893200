"""The alarms of an endpoint: made and pointed at a policy before it gets traffic, deleted with the endpoint."""

import os
from typing import Any

import boto3

from contract.metrics import CAPTURED_DRIFT, NAMESPACE
from contract.run import DeploySection
from lambdas.endpoints import services
from lambdas.endpoints.hosting import VARIANT

_cloudwatch = boto3.client("cloudwatch")

_SAGEMAKER, _BALANCER = "AWS/SageMaker", "AWS/ApplicationELB"
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
    watches = _of_services if deploy.target == "ecs" else _of_sagemaker
    errors, latency, idle = watches(endpoint, run_id, deploy)
    _put(
        alarm["errors"],
        f"More than {deploy.max_error_percent:g} % of the requests to {endpoint} fail.",
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        **errors,
    )
    _put(
        alarm["latency"],
        f"{endpoint} takes more than {deploy.max_latency_ms:g} ms for one request in ten.",
        ExtendedStatistic="p90",
        Period=60,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
        **latency,
    )
    watched = [alarm["errors"], alarm["latency"]]
    for name in watched:
        # What they said of another policy does not count for this one.
        _cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason=f"It watches {run_id} now.")
    _put(
        alarm["idle"],
        f"Nobody has called {endpoint} for a day, and it is paid for: rlpipe endpoints off {endpoint}",
        Statistic="Sum",
        Period=_DAY,
        Threshold=1,
        ComparisonOperator="LessThanThreshold",
        # Nothing is counted where nobody asks. Were that breaching, the alarm of a new endpoint would ring at once.
        TreatMissingData="missing",
        InsufficientDataActions=[os.environ["ALERT_FUNCTION_ARN"]],
        **idle,
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


def _of_sagemaker(endpoint: str, run_id: str, deploy: DeploySection) -> tuple[dict[str, Any], ...]:
    """What the alarms on errors, latency and idleness watch at SageMaker."""
    fleet = [*_of(endpoint), {"Name": "EndpointConfigName", "Value": run_id}]
    errors = {
        "Namespace": _SAGEMAKER,
        "MetricName": "Invocation5XXErrors",
        "Dimensions": fleet,
        "Statistic": "Average",
        "Period": 60,
        "Threshold": deploy.max_error_percent / 100,
    }
    latency: dict[str, Any] = {"Namespace": _SAGEMAKER, "MetricName": "ModelLatency", "Dimensions": fleet}
    latency["Threshold"] = deploy.max_latency_ms * 1000  # the metric is in microseconds
    return errors, latency, {"Namespace": _SAGEMAKER, "MetricName": "Invocations", "Dimensions": _of(endpoint)}


def _of_services(endpoint: str, run_id: str, deploy: DeploySection) -> tuple[dict[str, Any], ...]:
    """What they watch at the load balancer before ECS: its metrics count failures, and not in percent.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
    """
    fleet = services.fleet(endpoint, run_id)

    def query(name: str, metric: str) -> dict[str, Any]:
        described = {"Namespace": _BALANCER, "MetricName": metric, "Dimensions": fleet}
        return {"Id": name, "MetricStat": {"Metric": described, "Period": 60, "Stat": "Sum"}, "ReturnData": False}

    percent = "100 * (FILL(failed, 0) + FILL(unreached, 0)) / requests"
    errors = {
        "Metrics": [
            query("failed", "HTTPCode_Target_5XX_Count"),
            query("unreached", "TargetConnectionErrorCount"),
            query("requests", "RequestCount"),
            {"Id": "percent", "Expression": percent, "Label": "requests that failed, percent", "ReturnData": True},
        ],
        "Threshold": deploy.max_error_percent,
    }
    latency: dict[str, Any] = {"Namespace": _BALANCER, "MetricName": "TargetResponseTime", "Dimensions": fleet}
    latency["Threshold"] = deploy.max_latency_ms / 1000  # the metric is in seconds
    return errors, latency, {"Namespace": _BALANCER, "MetricName": "RequestCount", "Dimensions": fleet}


def _of(endpoint: str) -> list[dict[str, str]]:
    return [{"Name": "EndpointName", "Value": endpoint}, {"Name": "VariantName", "Value": VARIANT}]


def _put(name: str, description: str, **settings: Any) -> None:
    _cloudwatch.put_metric_alarm(
        AlarmName=name,
        AlarmDescription=description,
        EvaluationPeriods=1,
        AlarmActions=[os.environ["ALERT_FUNCTION_ARN"]],
        Tags=[{"Key": "project", "Value": "rlpipe"}],
        **settings,
    )
