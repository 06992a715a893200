"""What a container counts and logs, and what it keeps to itself."""

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.metrics import ENDPOINT, MAX_VALUES, STAGE
from contract.policy import Statistics
from serving_image import logs
from serving_image.measuring import MOST_OBSERVATIONS, Measuring, Sample, stability_index
from serving_image.proof import load
from tests.unit.serving_image.conftest import running
from tests.unit.serving_image.models import VALID, write_model

DIMENSIONS = {STAGE: "dev", ENDPOINT: "balance"}


def statistics_of(array: Any) -> Statistics:
    edges = [np.unique(np.quantile(column, np.arange(1, 10) / 10)).tolist() for column in array.T]
    shares = [
        (np.bincount(np.searchsorted(edge, column, side="right"), minlength=len(edge) + 1) / len(array)).tolist()
        for edge, column in zip(edges, array.T, strict=True)
    ]
    return Statistics(
        count=len(array), mean=array.mean(0).tolist(), std=array.std(0).tolist(), edges=edges, shares=shares
    )


GENERATOR = np.random.default_rng(0)
VALIDATION = GENERATOR.normal(size=(5000, 4)).astype(np.float32)


@pytest.fixture
def measuring(tmp_path: Path) -> tuple[Measuring, Any]:
    folder = write_model(tmp_path, statistics={"observation": statistics_of(VALIDATION)})
    return Measuring(DIMENSIONS), load(folder)[0]


def test_requests_are_counted_and_latencies_told(measuring: tuple[Measuring, Any]) -> None:
    counter, _ = measuring
    for number in range(1000):
        counter.answered(200, number / 1e6)
    counter.answered(400, None)
    counter.answered(500, None)
    line = counter.line()
    assert line is not None
    assert (line["Requests"], line["RequestsRefused"], line["RequestsFailed"]) == (1002, 1, 1)
    assert line["statuses"] == {"200": 1000, "400": 1, "500": 1}
    latencies = line["RequestLatency"]
    assert len(latencies) == MAX_VALUES
    assert max(latencies) == 0.999
    assert 0.3 < np.median(latencies) < 0.7
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert directive["Dimensions"] == [[STAGE, ENDPOINT]]
    assert (line[STAGE], line[ENDPOINT]) == ("dev", "balance")
    assert counter.line() is None, "nothing has happened since"


def test_without_an_endpoint_a_line_is_no_metric() -> None:
    counter = Measuring({STAGE: "dev"})
    counter.answered(200, 0.001)
    line = counter.line()
    assert line is not None
    assert "_aws" not in line
    assert line["Requests"] == 1


def test_observations_like_those_of_validation_do_not_drift(measuring: tuple[Measuring, Any]) -> None:
    counter, policy = measuring
    for row in GENERATOR.normal(size=(3000, 1, 4)):
        counter.saw(policy, {"observation": row})
        counter.answered(200, 0.001)
    line = counter.line()
    assert line is not None
    assert line["InputDrift"] < 0.1
    assert 200 <= line["ObservationsMeasured"] <= MOST_OBSERVATIONS


def test_observations_that_have_moved_drift_and_the_element_is_named(measuring: tuple[Measuring, Any]) -> None:
    counter, policy = measuring
    moved = GENERATOR.normal(loc=[0, 0, 1, 0], size=(2000, 4))
    counter.saw(policy, {"observation": moved})
    counter.answered(200, 0.001)
    line = counter.line()
    assert line is not None
    assert line["InputDrift"] > 0.25
    assert line["drifts"][policy.run_id]["element"] == "observation[2]"
    counter.saw(policy, {"observation": moved[:100]})
    counter.answered(200, 0.001)
    line = counter.line()
    assert line is not None
    assert "InputDrift" not in line, "a hundred are too few to tell"


def test_the_index_is_the_usual_sum() -> None:
    values = np.array([0.0] * 30 + [1.0] * 70)
    expected = (0.3 - 0.5) * np.log(0.3 / 0.5) + (0.7 - 0.5) * np.log(0.7 / 0.5)
    assert stability_index(values, [0.5], [0.5, 0.5]) == pytest.approx(expected)
    assert stability_index(values, [0.5], [0.3, 0.7]) == pytest.approx(0)


def test_a_sample_is_spread_evenly_and_bounded() -> None:
    sample = Sample({"observation": statistics_of(VALIDATION)})
    generator = np.random.default_rng(3)
    number = 0
    while number < 100_000:
        count = int(generator.integers(1, 700))
        rows = np.repeat(np.arange(number, number + count)[:, None], 4, axis=1)
        sample.add({"observation": rows})
        number += count
    kept = sample._together()["observation"][:, 0]
    assert MOST_OBSERVATIONS / 4 < len(kept) <= MOST_OBSERVATIONS
    assert np.all(np.diff(kept) > 0)
    assert np.diff(kept).max() <= 2 * np.diff(kept).min()


def test_a_large_observation_is_measured_in_some_places() -> None:
    from serving_image.measuring import elements

    picture = np.arange(2 * 84 * 84).reshape(2, 84, 84)
    assert elements(picture).shape == (2, 64)
    assert elements(picture)[0, [0, -1]].tolist() == [0, 84 * 84 - 1]
    assert elements(np.zeros((3,))).shape == (3, 1)


def test_the_log_is_json_and_says_nothing_of_what_callers_sent(tmp_path: Path) -> None:
    secret = 0.123456789
    with running(write_model(tmp_path), RLPIPE_STAGE="dev", RLPIPE_ENDPOINT="balance") as server:
        assert server.invoke({"observation": [secret, 0, 0, 0]}).status == 200
        assert server.invoke({"observation": [secret, 0, 0, f"{secret}"]}).status == 400
        assert server.request("POST", f"/{secret}").status == 404
        server.process.send_signal(signal.SIGTERM)
        output = server.process.stdout.read() if server.process.stdout else ""
        assert server.process.wait(timeout=20) == 0
    lines = [json.loads(line) for line in output.splitlines()]
    assert str(secret) not in output
    refused = [line for line in lines if line.get("message") == "A request was refused."]
    assert [(line["status"], line["field"]) for line in refused] == [(400, "observation[3]"), (404, "path")]
    [metrics] = [line for line in lines if "_aws" in line]
    assert (metrics["Requests"], metrics["RequestsRefused"]) == (3, 2)
    assert len(metrics["RequestLatency"]) == 1


def test_a_flood_of_refusals_does_not_flood_the_log(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    for _ in range(1000):
        logs.refused(400, "body")
    assert capfdbinary.readouterr().out.count(b"\n") <= 2 * logs.MOST_REFUSALS


def test_a_fault_is_logged_with_its_place_and_without_its_text(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    try:
        float("0.123secret")
    except ValueError:
        logs.fault("A request could not be answered.")
    line = json.loads(capfdbinary.readouterr().out)
    assert (line["level"], line["exception"]) == ("ERROR", "ValueError")
    assert "test_metrics_and_logs.py" in line["traceback"][-1]
    assert "secret" not in json.dumps(line)


def test_valid_observations_are_all_in_the_golden_file(tmp_path: Path) -> None:
    assert load(write_model(tmp_path))[1] == len(VALID["box"])
