"""A candidate in the shadow: when it begins, what it must show, and that it leaves the endpoint as it was."""

from typing import Any

import pytest

from contract.run import DeploySection, ShadowSection
from lambdas import moments
from lambdas.endpoints import captured, hosting, shadow
from lambdas.endpoints.captured import Exchange
from tests.unit.lambdas.endpoint_world import CHAMPION, RUN, World, world

__all__ = ["world"]

CONFIG = "shadow-222222222222"


@pytest.fixture
def shadowed(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A policy serves, and a candidate is to be in its shadow for an hour."""
    world.has_champion()
    world.deploy = DeploySection(rehearse=False, shadow=ShadowSection(hours=1, min_agreement=0.9))
    made: dict[str, Any] = {}
    monkeypatch.setattr(hosting, "make_shadow", lambda config, **more: (made.update(more), world.servable.add(config)))
    monkeypatch.setattr(captured, "settings", lambda percent: {"percent": percent})
    monkeypatch.setattr(shadow, "report", lambda endpoint, run_id, section, since: document(0.95))
    world.step("rehearse")
    return world


def document(agreement: float | None, errors: int = 0) -> dict[str, Any]:
    measured = {"requests": 100.0, "errors": 0.0, "latency_p50_ms": 1.0, "latency_p90_ms": 2.0, "latency_p99_ms": 3.0}
    return {
        "agreement": agreement,
        "min_agreement": 0.9,
        "requests_compared": 100,
        "production": measured,
        "candidate": {**measured, "errors": float(errors)},
    }


def test_the_shadow_lasts_as_long_as_asked_and_the_endpoint_is_as_before(
    shadowed: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert shadowed.step("shadow")["status"] == "wait"
    assert shadowed.deployments == [(CONFIG, None)]
    assert shadowed.watched == CONFIG, "the alarms watch what serves meanwhile"
    shadowed.settle("cartpole", config=CONFIG)
    assert shadowed.step("shadow")["status"] == "wait"
    monkeypatch.setattr(moments, "seconds_since", lambda moment: 3599.0)
    assert shadowed.step("shadow")["status"] == "wait"
    assert len(shadowed.deployments) == 1
    monkeypatch.setattr(moments, "seconds_since", lambda moment: 3601.0)
    assert shadowed.step("shadow")["status"] == "wait"
    assert shadowed.deployments[-1] == (CHAMPION, None)
    shadowed.settle("cartpole", config=CHAMPION)
    answer = shadowed.step("shadow")
    assert answer["status"] == "done"
    assert answer["said"].startswith("In the shadow it answered 95.0% of 100 requests with the same action")
    assert "production p90 2.0 ms; candidate p90 2.0 ms" in answer["said"]
    assert shadowed.servable == {CHAMPION, RUN}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (document(0.95), None),
        (document(0.85), "85.0% of 100 requests were answered with the same action"),
        (document(None), "no request to compare"),
        (document(0.95, errors=2), "2 of 100 requests failed"),
    ],
)
def test_what_the_shadow_shows_may_speak_against_the_candidate(found: dict[str, Any], said: str | None) -> None:
    objection = shadow.objection(found, max_error_percent=1)
    assert objection is None if said is None else said in str(objection)


def test_an_endpoint_that_cannot_take_the_shadow_serves_on(shadowed: World) -> None:
    shadowed.step("shadow")
    shadowed.settle("cartpole", failure="no capacity")
    answer = shadowed.step("shadow")
    assert (answer["status"], "went back" in answer["reason"]) == ("failed", True)
    assert shadowed.step("restore") == {"status": "done", "restored": True}
    assert (shadowed.servable, shadowed.watched) == ({CHAMPION}, CHAMPION)


def test_a_candidate_that_is_rejected_in_the_shadow_makes_way(shadowed: World) -> None:
    shadowed.step("shadow")
    shadowed.settle("cartpole", config=CONFIG)
    assert shadowed.step("restore")["status"] == "wait"
    shadowed.settle("cartpole", config=CHAMPION)
    assert shadowed.step("restore") == {"status": "done", "restored": True}
    assert shadowed.servable == {CHAMPION}


def test_a_first_policy_has_nobodys_shadow(world: World) -> None:
    world.deploy = DeploySection(shadow=ShadowSection())
    world.step("rehearse")
    assert world.step("shadow") == {"status": "skip"}


def test_the_same_requests_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {
        "policy": {0: 0, 1: 1, 2: [0.12345]},
        "candidate": {0: 0, 1: 0, 2: [0.123451], 3: 1},
    }

    def exchanges(endpoint: str, variant: str, hours: float) -> Any:
        return (Exchange({"observation": o}, {"action": a}) for o, a in answers[variant].items())

    written: list[Any] = []
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")
    monkeypatch.setattr(captured, "exchanges", exchanges)
    monkeypatch.setattr(shadow, "_statistic", lambda *_: 2000.0)
    monkeypatch.setattr(shadow._s3, "put_object", lambda **request: written.append(request))
    found = shadow.report("cartpole", RUN, ShadowSection(hours=1), since="2026-01-01T00:00:00+00:00")
    assert (found["requests_compared"], found["agreement"]) == (3, pytest.approx(2 / 3))
    assert found["candidate"]["latency_p90_ms"] == 2.0
    assert written[0]["Key"] == f"runs/{RUN}/validation/shadow.json"
    assert b"observation" not in written[0]["Body"]
