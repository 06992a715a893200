"""The part of CloudWatch's metric math that alarms use."""

import pytest

from embedded_aws.watching.metric_math import calculate, is_known

PERCENT = "100 * (FILL(failed, 0) + FILL(unreached, 0)) / requests"


@pytest.mark.parametrize(
    ("failed", "unreached", "requests", "percent"),
    [
        (3.0, None, 60.0, 5.0),
        (None, 6.0, 60.0, 10.0),
        (None, None, 60.0, 0.0),
        (3.0, 0.0, None, None),
        (1.0, 0, 0, None),
    ],
)
def test_a_percentage_of_requests(
    failed: float | None, unreached: float | None, requests: float | None, percent: float | None
) -> None:
    assert calculate(PERCENT, {"failed": failed, "unreached": unreached, "requests": requests}) == percent


@pytest.mark.parametrize(
    "expression",
    ["SEARCH('{AWS/EC2}', 'Average', 300)", "m1 ** 2", "other", "FILL(m1, REPEAT)", "__import__('os')", "1 +"],
)
def test_what_is_not_known_here_is_not_evaluated(expression: str) -> None:
    metric = {"Id": "m1", "MetricStat": {"Stat": "Sum"}}
    assert not is_known([metric, {"Id": "e1", "Expression": expression}])
    assert is_known([metric, {"Id": "e1", "Expression": "m1 - 1"}])
    assert not is_known([metric, {"Id": "e1", "Expression": "m1"}, {"Id": "e2", "Expression": "m1"}])
