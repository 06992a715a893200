"""CloudWatch makes metrics of log lines that follow the embedded metric format.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html
"""

import json
from typing import Any

import pytest

from embedded_aws.watching.embedded_metrics import extract


def document(**changes: Any) -> dict[str, Any]:
    """The example of the specification."""
    directive = {
        "Namespace": "lambda-function-metrics",
        "Dimensions": [["functionVersion"]],
        "Metrics": [{"Name": "time", "Unit": "Milliseconds", "StorageResolution": 60}],
    }
    return {
        "_aws": {"Timestamp": 1574109732004, "CloudWatchMetrics": [directive | changes.pop("directive", {})]},
        "functionVersion": "$LATEST",
        "time": 100,
        "requestId": "989ffbf8-9ace-4817-a57c-e4dd734019ee",
        **changes,
    }


def test_a_metric_has_the_values_dimensions_and_time_of_its_line() -> None:
    [datum] = extract(json.dumps(document()))
    assert (datum.namespace, datum.name, datum.unit) == ("lambda-function-metrics", "time", "Milliseconds")
    assert (datum.values, datum.dimensions, datum.at) == ([100.0], {"functionVersion": "$LATEST"}, 1574109732.004)


def test_each_set_of_dimensions_is_a_metric_of_its_own() -> None:
    line = document(directive={"Dimensions": [["functionVersion"], ["functionVersion", "requestId"]]})
    assert [list(datum.dimensions) for datum in extract(json.dumps(line))] == [
        ["functionVersion"],
        ["functionVersion", "requestId"],
    ]


def test_a_metric_may_have_many_values() -> None:
    [datum] = extract(json.dumps(document(time=[1, 2.5, 3])))
    assert datum.values == [1.0, 2.5, 3.0]


@pytest.mark.parametrize(
    "message",
    [
        "plain text about _aws",
        '{"event":"progress"}',
        'before {"_aws":{}}',
        json.dumps(document(time="fast")),
        json.dumps(document(time=[0] * 101)),
        json.dumps(document(functionVersion=3)),
        json.dumps(document(directive={"Dimensions": [["unknown"]]})),
        json.dumps(document(directive={"Metrics": [{"Name": "unknown"}]})),
        json.dumps({"_aws": []}),
        json.dumps(["_aws"]),
    ],
)
def test_a_line_that_does_not_follow_it_makes_no_metric(message: str) -> None:
    assert list(extract(message)) == []
