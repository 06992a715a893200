"""Metrics from log lines: https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format.html"""

import json
import time

import pytest

from tests.conformance.account import Account, unique


@pytest.mark.page("AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html")
def test_a_log_line_in_the_embedded_metric_format_becomes_metrics(aws: Account) -> None:
    group, now = unique("group"), int(time.time() * 1000)
    aws.logs.create_log_group(logGroupName=group)
    aws.made(lambda: aws.logs.delete_log_group(logGroupName=group))
    aws.logs.create_log_stream(logGroupName=group, logStreamName="stream")
    directive = {
        "Namespace": "Tests",
        "Dimensions": [["Group"], ["Group", "Room"]],
        "Metrics": [{"Name": "Time", "Unit": "Milliseconds"}],
    }
    line = {"_aws": {"Timestamp": now, "CloudWatchMetrics": [directive]}, "Group": group, "Room": "kitchen"}
    event = {"timestamp": now, "message": json.dumps({**line, "Time": [100, 300]})}
    aws.logs.put_log_events(logGroupName=group, logStreamName="stream", logEvents=[event])
    for dimensions in ({"Group": group}, {"Group": group, "Room": "kitchen"}):
        request = {
            "Namespace": "Tests",
            "MetricName": "Time",
            "Dimensions": [{"Name": name, "Value": value} for name, value in dimensions.items()],
            "StartTime": now / 1000 - 300,
            "EndTime": now / 1000 + 300,
            "Period": 3600,
            "Statistics": ["Average", "Minimum", "Maximum", "SampleCount"],
        }

        def datapoints(request: dict[str, object] = request) -> list[dict[str, float]]:
            found: list[dict[str, float]] = aws.client("cloudwatch").get_metric_statistics(**request)["Datapoints"]
            return found

        found = aws.until(datapoints, what="the metric is there", seconds=aws.until_measured)[0]
        assert [found[name] for name in ("Average", "Minimum", "Maximum", "SampleCount")] == [200, 100, 300, 2]
