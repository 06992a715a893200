"""How far what an endpoint is asked is from what its policy was validated on."""

import json
from typing import Any

import pytest

from contract.champion import Champion, Policy
from contract.run import DeploySection, DriftSection
from lambdas.endpoints import captured, champions, drift
from lambdas.endpoints.captured import Exchange
from tests.unit.lambdas.endpoint_world import World, world

__all__ = ["world"]

STATISTICS = {"observation": {"edges": [[0.25, 0.5, 0.75], [0.0]], "shares": [[0.25] * 4, [0.5, 0.5]]}}


def test_the_same_shares_have_no_index_and_others_have_one() -> None:
    values = [0.1, 0.3, 0.6, 0.9]
    assert drift.stability_index(values, [0.25, 0.5, 0.75], [0.25] * 4) == pytest.approx(0)
    # (0.5 - 0.25) ln 2 twice, (1e-4 - 0.25) ln(4e-4) twice: by hand.
    assert drift.stability_index([0.1, 0.9], [0.25, 0.5, 0.75], [0.25] * 4) == pytest.approx(4.2570, abs=1e-4)


def test_the_element_that_differs_most_is_named() -> None:
    asked = [[0.1 + 0.25 * (number % 4), 1.0] for number in range(400)]
    index, element = drift.worst(asked, STATISTICS)
    assert element == "observation[1]"
    assert index > 1


def test_the_parts_of_a_dictionary_are_inputs_of_their_own() -> None:
    statistics = {"observation.gear": {"edges": [[2]], "shares": [[0.5, 0.5]]}}
    asked = [{"gear": number % 2 + 1} for number in range(100)]
    assert drift.worst(asked, statistics) == (0.0, "observation.gear[0]")


def test_of_a_large_observation_some_elements_are_looked_at() -> None:
    assert drift._positions(3) == [0, 1, 2]
    spread = drift._positions(1000)
    assert (len(spread), spread[0], spread[-1]) == (64, 0, 999)


class Bucket:
    """Objects as they are written, and the metrics that are published."""

    def __init__(self) -> None:
        self.objects: dict[str, Any] = {}
        self.metrics: list[float] = []
        self.retrained: list[str] = []


@pytest.fixture
def bucket(world: World, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    made = Bucket()
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")
    monkeypatch.setattr(drift._s3, "put_object", lambda **it: made.objects.update({it["Key"]: json.loads(it["Body"])}))
    monkeypatch.setattr(
        drift._cloudwatch, "put_metric_data", lambda **it: made.metrics.append(it["MetricData"][0]["Value"])
    )
    monkeypatch.setattr(drift, "_before", lambda endpoint: made.objects.get(f"drift/{endpoint}.json", {}))
    monkeypatch.setattr(drift, "_retrain", made.retrained.append)
    monkeypatch.setattr(drift, "_statistics", lambda run_id: STATISTICS)
    world.has_champion()
    return made


def asked(monkeypatch: pytest.MonkeyPatch, observations: list[Any]) -> None:
    found = [Exchange({"observation": observation}, {"action": 0}) for observation in observations]
    monkeypatch.setattr(captured, "exchanges", lambda endpoint, variant, hours: iter(found))


SHIFTED = [[0.9, 1.0]] * 300
USUAL = [[0.1 + 0.25 * (number % 4), number // 4 % 2 - 0.5] for number in range(400)]


def test_a_shift_is_a_metric_a_document_and_one_retraining(
    world: World, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.deploy = DeploySection(drift=DriftSection(retrain=True))
    asked(monkeypatch, SHIFTED)
    assert drift.look() == ["cartpole"]
    drift.look()
    assert len(bucket.metrics) == 2
    found = bucket.objects["drift/cartpole.json"]
    assert found["index"] > 0.25
    assert found["observations"] == 300
    assert bucket.retrained == [found["run_id"]], "once for each policy"


def test_what_is_as_it_was_rings_nothing(world: World, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deploy = DeploySection(drift=DriftSection(retrain=True))
    asked(monkeypatch, USUAL)
    drift.look()
    assert bucket.metrics == [pytest.approx(0)]
    assert bucket.retrained == []


def test_of_too_few_observations_nothing_is_said(world: World, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deploy = DeploySection(drift=DriftSection(retrain=True))
    asked(monkeypatch, SHIFTED[: drift.FEWEST - 1])
    drift.look()
    assert (bucket.metrics, bucket.retrained) == ([], [])
    assert bucket.objects["drift/cartpole.json"]["index"] is None


def test_endpoints_that_did_not_ask_for_it_or_are_off_are_left(
    world: World, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked(monkeypatch, SHIFTED)
    assert drift.look() == []
    world.deploy = DeploySection(drift=DriftSection())
    off = Champion(endpoint="cartpole", run_id="a-0", since="then", on=False, kept=[Policy(run_id="a-0")])
    monkeypatch.setattr(champions, "everyone", lambda: [off])
    assert drift.look() == []
