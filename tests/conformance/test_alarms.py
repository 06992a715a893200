"""When an alarm rings: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html"""

import json
from collections.abc import Callable
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


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/using-metric-math.html")
def test_an_alarm_on_an_expression_rings_for_what_it_gives(aws: Account) -> None:
    name = unique("alarm")

    def query(metric: str) -> dict[str, Any]:
        described = {"Namespace": "Tests", "MetricName": f"{name}-{metric}"}
        return {"Id": metric, "MetricStat": {"Metric": described, "Period": 60, "Stat": "Sum"}, "ReturnData": False}

    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Metrics=[
            query("failed"),
            query("requests"),
            {"Id": "percent", "Expression": "100 * FILL(failed, 0) / requests", "ReturnData": True},
        ],
        EvaluationPeriods=1,
        Threshold=5,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    publish(aws, f"{name}-requests", 100)
    aws.until(lambda: state(aws, name) == "OK", what="no request has failed")
    publish(aws, f"{name}-failed", 4)
    assert state(aws, name) == "OK"
    publish(aws, f"{name}-failed", 4)
    aws.until(lambda: state(aws, name) == "ALARM", what="8 percent have failed")


# --- actions, and queries over many metrics ---------------------------------------------------------------------------

NOTES_DOWN = """
import boto3, json, os
def handler(event, context):
    boto3.client("sqs").send_message(QueueUrl=os.environ["QUEUE"], MessageBody=json.dumps(event))
"""


@pytest.fixture
def notes(aws: Account) -> tuple[str, Callable[[], list[dict[str, Any]]]]:
    """The ARN of a function for alarms to call, and what gives the events that it was called with."""
    url = aws.message_queue()
    name = aws.function(NOTES_DOWN, Environment={"Variables": {"QUEUE": url}})
    aws.functions.add_permission(
        FunctionName=name,
        StatementId="alarms",
        Action="lambda:InvokeFunction",
        Principal="lambda.alarms.cloudwatch.amazonaws.com",
    )
    return aws.arn("lambda", f"function:{name}"), lambda: [json.loads(body) for body in aws.receive(url)]


def put_query(aws: Account, name: str, query: str, *, period: int = 60, **settings: Any) -> None:
    aws.client("cloudwatch").put_metric_alarm(
        **{
            "AlarmName": name,
            "Metrics": [{"Id": "q", "Expression": query, "Period": period, "ReturnData": True}],
            "EvaluationPeriods": 1,
            "Threshold": 5,
            "ComparisonOperator": "GreaterThanThreshold",
            "TreatMissingData": "notBreaching",
            **settings,
        }
    )
    aws.made(lambda: aws.client("cloudwatch").delete_alarms(AlarmNames=[name]))


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/alarm-actions.html")
def test_each_time_series_of_a_query_that_groups_rings_by_itself(aws: Account, notes: tuple[str, Any]) -> None:
    function, read = notes
    name = unique("alarm")
    metric = name.replace("-", "")
    query = f"SELECT MAX({metric}) FROM SCHEMA(\"Tests\", Room, Stage) WHERE Stage = 'dev'"
    put_query(aws, name, f"{query} GROUP BY Room ORDER BY MAX() DESC", AlarmActions=[function])
    publish(aws, metric, 9, Room="cellar", Stage="prod")
    publish(aws, metric, 9, Room="cellar")
    publish(aws, metric, 3, Room="cellar", Stage="dev")
    publish(aws, metric, 9, Room="kitchen", Stage="dev")
    [first] = aws.until(read, what="the kitchen rings", seconds=aws.until_measured)
    assert first["alarmData"]["alarmContributor"]["attributes"] == {"Room": "kitchen"}
    assert first["alarmData"]["state"]["value"] == "ALARM"
    assert first["alarmData"]["configuration"]["metrics"][0]["expression"].startswith("SELECT MAX")
    assert state(aws, name) == "ALARM"
    publish(aws, metric, 8, Room="kitchen", Stage="dev")  # it rings already
    publish(aws, metric, 9, Room="cellar", Stage="dev")
    [second] = aws.until(read, what="the cellar rings too, though the alarm does", seconds=aws.until_measured)
    assert second["alarmData"]["alarmContributor"]["attributes"] == {"Room": "cellar"}


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/Create_Metrics_Insights_Alarm.html")
def test_a_time_series_without_data_ends_its_ringing(aws: Account, notes: tuple[str, Any]) -> None:
    function, read = notes
    name = unique("alarm")
    metric = name.replace("-", "")
    query = f'SELECT SUM({metric}) FROM "Tests" GROUP BY Room ORDER BY SUM() DESC'
    put_query(aws, name, query, period=aws.shortest_period, OKActions=[function])
    publish(aws, metric, 9, Room="kitchen")
    [event] = aws.until(read, what="the kitchen is well again", seconds=aws.until_measured)
    assert event["alarmData"]["state"]["value"] == "OK"
    aws.until(lambda: state(aws, name) == "OK", what="the alarm is well too", seconds=aws.until_measured)


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/alarms-and-actions-Lambda.html")
def test_a_function_is_called_by_an_alarm_on_one_metric(aws: Account, notes: tuple[str, Any]) -> None:
    function, read = notes
    name = unique("alarm")
    put(aws, name, AlarmActions=[function], Dimensions=[{"Name": "Room", "Value": "kitchen"}])
    publish(aws, name, 9, Room="kitchen")
    [event] = aws.until(read, what="the function is called", seconds=aws.until_measured)
    data = event["alarmData"]
    assert (data["alarmName"], data["state"]["value"]) == (name, "ALARM")
    metric = data["configuration"]["metrics"][0]["metricStat"]["metric"]
    assert metric == {"namespace": "Tests", "name": name, "dimensions": {"Room": "kitchen"}}


@pytest.mark.page("AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-available-cloudwatch-metrics.html")
def test_messages_in_a_queue_are_a_metric(aws: Account) -> None:
    url, name = aws.message_queue(), unique("alarm")
    put(
        aws,
        name,
        Namespace="AWS/SQS",
        MetricName="ApproximateNumberOfMessagesVisible",
        Dimensions=[{"Name": "QueueName", "Value": url.rpartition("/")[2]}],
        Statistic="Maximum",
        Threshold=0,
        TreatMissingData="notBreaching",
    )
    aws.sqs.send_message(QueueUrl=url, MessageBody="lost")
    aws.until(lambda: state(aws, name) == "ALARM", what="the queue is not empty", seconds=aws.until_measured)
