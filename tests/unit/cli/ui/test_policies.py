"""Endpoints in the page: asking one, letting it play, its traffic."""

import base64
import json
from typing import Any

import pytest

from cli.ui import play
from tests.unit.cli.fake_aws import FakeAws
from tests.unit.cli.ui.conftest import Browser


@pytest.fixture
def serving(aws: FakeAws) -> FakeAws:
    """An endpoint whose policy pushes the cart to where the pole falls."""
    aws.endpoints["cartpole"] = lambda request: {"action": int(request["observation"][2] > 0)}
    aws.put("runs/cartpole-2/run.json", {"specification": {"environment": {"id": "CartPole-v1", "kwargs": {}}}})
    return aws


def test_endpoints_are_listed(serving: FakeAws, browser: Browser) -> None:
    assert "cartpole InService cartpole-2" in browser.get("/policies").text


def test_an_endpoint_is_switched_off_and_on_and_goes_back(serving: FakeAws, browser: Browser) -> None:
    page = browser.get("/policies/cartpole")
    for part in ("Roll back", "Switch off", "Delete", "$40.88", "cartpole-1"):
        assert part in page.text
    assert "Switch on" not in page.text
    off = browser.post("/policies/cartpole/off", {"reason": "weekend"}, hx_request="true")
    assert serving.given == [("cartpole", "off", "weekend")]
    assert "Switch on" in off.text
    assert "Switch off" not in off.text
    assert b"<html" not in off.body
    browser.post("/policies/cartpole/on", hx_request="true")
    browser.post("/policies/cartpole/rollback", hx_request="true")
    assert [command for _, command, _ in serving.given] == ["off", "on", "rollback"]
    serving.answers = [(409, {"error": "conflict", "message": "an update is in progress"})]
    assert "an update is in progress" in browser.post("/policies/cartpole/off", hx_request="true").text
    assert browser.post("/policies/cartpole/explode").status == 404


def test_its_history_says_what_happened_who_did_it_and_why(serving: FakeAws, browser: Browser) -> None:
    changes = [
        {"at": "2026-11-25T20:00:00+00:00", "what": "promoted", "run_id": "cartpole-1", "by": "pipeline", "reason": ""},
        {"at": "2026-11-25T21:00:00+00:00", "what": "off", "run_id": "cartpole-1", "by": "ann", "reason": "weekend"},
    ]
    serving.policies["cartpole"] = {"history": changes}
    text = browser.get("/policies/cartpole").text
    assert "promoted cartpole-1 pipeline" in text
    assert "off cartpole-1 ann weekend" in text


def test_an_observation_has_a_field_for_each_number(serving: FakeAws, browser: Browser) -> None:
    page = browser.get("/policies/cartpole")
    assert "steps and draws CartPole-v1" in page.text
    assert page.body.count(b'type="number"') == 4
    answer = browser.post("/policies/cartpole/ask", {"o0": "0", "o1": "0", "o2": "0.1", "o3": "0"})
    assert answer.text == "action 1"
    assert browser.post("/policies/cartpole/ask", {"observation": "[0, 0, -0.1, 0]"}).text == "action 0"


@pytest.mark.parametrize("fields", [{}, {"observation": "[1, 2"}, {"o0": "one"}])
def test_what_is_no_observation_is_said(serving: FakeAws, browser: Browser, fields: dict[str, str]) -> None:
    assert "That is no observation" in browser.post("/policies/cartpole/ask", fields).text


def test_an_endpoint_that_does_not_answer_is_said(serving: FakeAws, browser: Browser) -> None:
    assert "does not answer" in browser.post("/policies/gone/ask", {"observation": "[0]"}).text


def test_a_policy_plays_its_environment_frame_by_frame(
    serving: FakeAws, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cli.ui.play.time.sleep", lambda _seconds: None)
    answer = browser.post("/policies/cartpole/play", {"seed": "7"})
    steps = [json.loads(line) for line in answer.body.splitlines()]
    assert steps[0]["action"] is None
    assert steps[0]["observation"] == pytest.approx(json.loads(answer.body.splitlines()[0])["observation"])
    assert [step["step"] for step in steps] == list(range(len(steps)))
    assert steps[-1]["over"]
    assert steps[-1]["total"] == steps[-1]["step"] > 20, "the policy balances better than one that does nothing"
    pictures = {step["frame"] for step in steps}
    assert len(pictures) > 20
    assert base64.b64decode(steps[0]["frame"].partition(",")[2]).startswith(b"\xff\xd8")
    again = browser.post("/policies/cartpole/play", {"seed": "7"})
    assert again.body == answer.body, "the same seed is the same episode"


def test_an_environment_that_is_not_here_is_said(serving: FakeAws, browser: Browser) -> None:
    serving.put("runs/cartpole-2/run.json", {"specification": {"environment": {"id": "Nowhere-v0", "kwargs": {}}}})
    (said,) = browser.post("/policies/cartpole/play").body.splitlines()
    assert "Nowhere-v0 cannot be made here" in json.loads(said)["problem"]
    stacked = {"id": "CartPole-v1", "kwargs": {}, "frame_stack": 4}
    serving.put("runs/cartpole-2/run.json", {"specification": {"environment": stacked}})
    assert "sees 4 frames at once" in browser.get("/policies/cartpole").text
    spaces = {"observation_space": {"type": "Box", "shape": [3]}, "action_space": {"type": "Discrete", "n": 2}}
    serving.put("runs/cartpole-2/run.json", {"specification": {"environment": {"id": "log", **spaces}}})
    page = browser.get("/policies/cartpole")
    assert "there is no simulator to play in" in page.text
    assert page.body.count(b'type="number"') == 3
    serving.policies["cartpole"] = {"run_id": None}
    assert "It is not known which environment" in browser.get("/policies/cartpole").text


def test_without_gymnasium_the_page_says_so(
    serving: FakeAws, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Any = play.importlib.util.find_spec
    monkeypatch.setattr(play.importlib.util, "find_spec", lambda name: None if name == "gymnasium" else real(name))
    assert "Gymnasium are not installed here" in browser.get("/policies/cartpole").text
    assert "not installed here" in json.loads(browser.post("/policies/cartpole/play").body)["problem"]


def test_traffic_is_what_cloudwatch_counted(serving: FakeAws, browser: Browser) -> None:
    assert "CloudWatch has no request of the last hours" in browser.get("/policies/cartpole").text
    serving.requests_a_minute = 42
    requests, latency = browser.get("/policies/cartpole").charts
    assert max(requests["lines"][0]["y"]) == 42
    assert latency["lines"][0]["y"] == [1.5]
