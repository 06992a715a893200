"""When an alarm rings: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html"""

from typing import Any

import pytest

from tests.conformance.account import Account, unique


def put(aws: Account, name: str, **settings: Any) -> None:
    aws.client("cloudwatch").put_metric_alarm(
        **{
            "AlarmName": name,
            "Namespace": "Tests",
            "MetricName": name,
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 5,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "missing",
            **settings,
        }
    )


def publish(aws: Account, metric: str, value: float, **dimensions: str) -> None:
    datum = {
        "MetricName": metric,
        "Value": value,
        "Dimensions": [{"Name": key, "Value": item} for key, item in dimensions.items()],
    }
    aws.client("cloudwatch").put_metric_data(Namespace="Tests", MetricData=[datum])


def state(aws: Account, name: str) -> str:
    [alarm] = aws.client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    value: str = alarm["StateValue"]
    return value


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/cloudwatch_concepts.html")
def test_an_alarm_rings_for_the_metric_with_its_dimensions_only(aws: Account) -> None:
    name = unique("alarm")
    put(aws, name, Dimensions=[{"Name": "Room", "Value": "kitchen"}])
    publish(aws, name, 9, Room="cellar")
    publish(aws, name, 9)
    assert state(aws, name) == "INSUFFICIENT_DATA"
    publish(aws, name, 3, Room="kitchen")
    assert state(aws, name) == "OK"
    publish(aws, name, 3, Room="kitchen")
    assert state(aws, name) == "ALARM", "the sum of a period counts"


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html")
@pytest.mark.parametrize(
    ("missing", "expected"),
    [("missing", "INSUFFICIENT_DATA"), ("notBreaching", "OK"), ("breaching", "ALARM"), ("ignore", "INSUFFICIENT_DATA")],
)
def test_missing_data_mean_what_the_alarm_says(aws: Account, missing: str, expected: str) -> None:
    name = unique("alarm")
    put(aws, name, TreatMissingData=missing)
    assert state(aws, name) == expected


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/alarm-evaluation.html")
def test_as_many_periods_must_breach_as_the_alarm_says(aws: Account) -> None:
    name = unique("alarm")
    put(aws, name, EvaluationPeriods=3, DatapointsToAlarm=2, TreatMissingData="notBreaching")
    publish(aws, name, 9)
    assert state(aws, name) == "OK"


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html")
def test_an_alarm_ends_when_its_data_are_old(aws: Account) -> None:
    name = unique("alarm")
    put(aws, name, Period=1, TreatMissingData="notBreaching")
    publish(aws, name, 9)
    aws.until(lambda: state(aws, name) == "OK", what="the alarm ends")
