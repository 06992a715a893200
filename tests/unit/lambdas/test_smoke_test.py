"""An endpoint passes only when it gives the validated actions."""

import io
import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import Stubber

from lambdas.smoke_test import asking
from lambdas.smoke_test import handler as smoke_test

Stub = Callable[[Any], Stubber]
EVENT = {"endpoint": "cartpole", "golden_key": "runs/x/validation/golden.json", "max_latency_ms": 250}


def body(content: bytes) -> dict[str, Any]:
    return {"Body": StreamingBody(io.BytesIO(content), len(content))}


def passed(reason: str) -> dict[str, Any]:
    return {"passed": True, "reason": reason}


@pytest.fixture
def ask(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Any], bytes], dict[str, Any]]:
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")

    def call(actions: list[Any], answer: bytes) -> dict[str, Any]:
        monkeypatch.setattr(smoke_test, "_time", lambda endpoint, observations, limit_ms, reason: passed(reason))
        observations = [[0.0] for _ in actions]
        golden = json.dumps({"observations": observations, "actions": actions}).encode()
        stub(smoke_test._s3).add_response("get_object", body(golden))
        stub(smoke_test._runtime).add_response(
            "invoke_endpoint",
            body(answer),
            {
                "EndpointName": "cartpole",
                "ContentType": "application/json",
                "Accept": "application/json",
                "Body": json.dumps({"observations": observations}),
            },
        )
        return smoke_test.handler(EVENT, None)

    return call


Ask = Callable[[list[Any], bytes], dict[str, Any]]


@pytest.mark.parametrize(
    ("validated", "answered"),
    [([0, 1, 1], [0, 1, 1]), ([[0.5], [-1.0]], [[0.50001], [-1.0]]), ([[1, 2]], [[1, 2]])],
)
def test_equal_actions_pass(ask: Ask, validated: list[Any], answered: list[Any]) -> None:
    assert ask(validated, json.dumps({"actions": answered}).encode())["passed"] is True


@pytest.mark.parametrize(
    ("validated", "answered", "said"),
    [
        ([0, 1, 1], {"actions": [0, 1, 0]}, "on 1 of 3 observations, first on number 2: 0 for 1"),
        ([0, 1], {"actions": [0]}, "1 actions to 2 observations"),
        ([0, 1], {"actions": {"0": 1}}, "no list of actions"),
        ([[0.5]], {"actions": [[0.6]]}, "differ"),
        ([1], {"actions": [True]}, "differ"),
        ([1], {"actions": ["1"]}, "differ"),
        ([0], {"error": "no"}, "has no actions"),
    ],
)
def test_anything_else_fails_and_says_why(ask: Ask, validated: list[Any], answered: Any, said: str) -> None:
    answer = ask(validated, json.dumps(answered).encode())
    assert answer["passed"] is False
    assert said in answer["reason"]


def test_an_answer_that_is_not_json_fails(ask: Ask) -> None:
    assert ask([0], b"<html>")["passed"] is False


def test_an_endpoint_that_answers_with_an_error_fails(stub: Stub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")
    stub(smoke_test._s3).add_response("get_object", body(b'{"observations": [[0.0]], "actions": [0]}'))
    stub(smoke_test._runtime).add_client_error("invoke_endpoint", "ModelError", "Received server error (500)")
    answer = smoke_test.handler(EVENT, None)
    assert answer["passed"] is False
    assert "500" in answer["reason"]


@pytest.mark.parametrize(("slow", "passes"), [(0, True), (9, True), (11, False)])
def test_the_median_of_single_observations_must_be_quick(slow: int, passes: bool) -> None:
    asked: list[Any] = []

    def ask(request: dict[str, Any]) -> tuple[Any, float]:
        asked.append(request["observation"])
        return {"action": 0}, 0.4 if len(asked) <= slow else 0.001

    answer = smoke_test._time(ask, [{"observation": [0.0]}, {"observation": [1.0]}], 250, "all actions")
    assert answer["passed"] is passes
    assert len(asked) == smoke_test.TIMED
    assert asked[:3] == [[0.0], [1.0], [0.0]]
    if not passes:
        assert "400 ms for an observation, median of 20; deploy.max_latency_ms is 250" in answer["reason"]


def test_timing_a_policy_that_crawls_does_not_take_for_ever() -> None:
    answer = smoke_test._time(lambda _: ({"action": 0}, 10.0), [{"observation": [0.0]}], 250, "all actions")
    assert (answer["passed"], "median of 2" in answer["reason"]) == (False, True)


@pytest.mark.parametrize(
    ("said", "passes", "reason"),
    [
        ({"statusCode": 200, "body": '{"actions": [0], "action": 0}', "seconds": 0.002}, True, "in 2.0 ms"),
        ({"statusCode": 500, "body": '{"error": "broken"}', "seconds": 0.002}, False, '500 {"error": "broken"}'),
        ({"errorMessage": "timed out after 20 s"}, False, "timed out after 20 s"),
    ],
    ids=["answers", "fails", "is not reached"],
)
def test_a_service_on_ecs_is_asked_through_the_function_in_its_network(
    stub: Stub, monkeypatch: pytest.MonkeyPatch, said: dict[str, Any], passes: bool, reason: str
) -> None:
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")
    monkeypatch.setenv("ASK_FUNCTION", "ask")
    stub(smoke_test._s3).add_response("get_object", body(b'{"observations": [[0.5]], "actions": [0]}'))
    asked: list[dict[str, Any]] = []

    def invoke(FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        assert FunctionName == "ask"
        asked.append(json.loads(Payload))
        failed = {"FunctionError": "Unhandled"} if "errorMessage" in said else {}
        return {"Payload": io.BytesIO(json.dumps(said).encode()), **failed}

    monkeypatch.setattr(asking, "_lambda", SimpleNamespace(invoke=invoke))
    answer = smoke_test.handler({**EVENT, "target": "ecs"}, None)
    assert answer["passed"] is passes
    assert reason in answer["reason"]
    assert asked[0] == {"endpoint": "cartpole", "body": '{"observations": [[0.5]]}'}
    assert len(asked) == (1 + smoke_test.TIMED if passes else 1)


def test_a_policy_that_is_told_the_valid_actions_is_told_those_of_validation(
    stub: Stub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARTIFACTS_BUCKET", "artifacts")
    monkeypatch.setattr(smoke_test, "TIMED", 2)
    golden = {"observations": [[0.0], [1.0]], "actions": [1, 0], "action_masks": [[False, True], [True, True]]}
    stub(smoke_test._s3).add_response("get_object", body(json.dumps(golden).encode()))
    runtime = stub(smoke_test._runtime)
    asked = {"EndpointName": "cartpole", "ContentType": "application/json", "Accept": "application/json"}
    together = {"observations": golden["observations"], "action_masks": golden["action_masks"]}
    alone = [
        {"observation": observation, "action_mask": mask}
        for observation, mask in zip(golden["observations"], golden["action_masks"], strict=True)
    ]
    for request, answer in ((together, {"actions": [1, 0]}), *((one, {"action": 0}) for one in alone)):
        runtime.add_response(
            "invoke_endpoint", body(json.dumps(answer).encode()), asked | {"Body": json.dumps(request)}
        )
    assert smoke_test.handler(EVENT, None)["passed"] is True
    runtime.assert_no_pending_responses()
