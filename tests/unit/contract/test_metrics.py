"""The lines that CloudWatch makes metrics of."""

import json
import math

import pytest

from contract import metrics
from contract.metrics import METRICS, OF_A_RUN, measured

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html
UNITS = {"None", "Count", "Count/Second", "Percent", "Seconds", "Milliseconds"}

RUN = {"Stage": "dev", "Experiment": "cartpole", "Run": "cartpole-0123"}


def test_every_metric_is_named_once_and_has_a_unit_that_cloudwatch_knows() -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) > 20
    assert {metric.unit for metric in METRICS} <= UNITS
    assert set(metrics.MEASURED.values()) <= {metric for metric in METRICS if metric.dimensions == OF_A_RUN}


def test_a_line_says_what_cloudwatch_needs() -> None:
    line = measured({metrics.LOSS: 0.5, metrics.EPISODE_RETURN: [1.0, 2.0]}, RUN, timesteps=10)
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive == {
        "Namespace": "rlpipe",
        "Dimensions": [["Stage", "Experiment", "Run"]],
        "Metrics": [{"Name": "Loss", "Unit": "None"}, {"Name": "EpisodeReturn", "Unit": "None"}],
    }
    assert line["_aws"]["Timestamp"] > 1.7e12  # milliseconds
    assert {name: line[name] for name in RUN} == RUN
    assert (line["Loss"], line["EpisodeReturn"], line["timesteps"]) == (0.5, [1.0, 2.0], 10)


@pytest.mark.parametrize("value", [math.nan, math.inf, [math.nan], []])
def test_what_is_no_number_is_left_out(value: float | list[float]) -> None:
    line = measured({metrics.LOSS: value, metrics.ENTROPY: 1.0}, RUN)
    json.dumps(line, allow_nan=False)
    assert "Loss" not in line
    assert [it["Name"] for it in line["_aws"]["CloudWatchMetrics"][0]["Metrics"]] == ["Entropy"]


def test_a_line_with_nothing_to_measure_has_no_directive() -> None:
    assert measured({metrics.LOSS: math.nan}, RUN)["_aws"]["CloudWatchMetrics"] == []


def test_no_metric_has_more_values_than_cloudwatch_takes() -> None:
    assert measured({metrics.EPISODE_RETURN: [float(n) for n in range(150)]}, RUN)["EpisodeReturn"] == list(
        range(50, 150)
    )
