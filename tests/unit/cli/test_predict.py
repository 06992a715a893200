"""Asking an endpoint."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cli.display import predict_command
from tests.unit.cli.conftest import Said
from tests.unit.cli.fake_aws import FakeAws, refusal

DISCRETE = {"type": "Discrete", "n": 2}


def test_the_action_is_printed(aws: FakeAws, rlpipe: Callable[..., Said]) -> None:
    aws.endpoints["carts"] = lambda body: {"action": len(body["observation"])}
    assert rlpipe("predict", "carts", "--observation", "[0, 0, 0, 1e-3]").stdout == "4\n"
    assert rlpipe("predict", "carts", "--observation", "[0]", "--json").document == {"action": 1}


def test_what_a_policy_needs_besides_is_sent_and_its_state_told(aws: FakeAws, rlpipe: Callable[..., Said]) -> None:
    aws.endpoints["carts"] = lambda body: {"action": body["action_mask"].index(True), "state": body["state"] + "!"}
    more = ("--action-mask", "[false, true]", "--state", "abc")
    said = rlpipe("predict", "carts", "--observation", "[0]", *more)
    assert said.stdout == "1\n"
    assert "--state abc!" in said.stderr
    said = rlpipe("predict", "carts", "--observation", "[0]", "--action-mask", "[false")
    assert (said.exit_code, "--action-mask is not JSON" in said.stderr) == (2, True)


@pytest.mark.parametrize("observation", ["[0, 0", "[NaN]", "", "[Infinity, 0]"])
def test_what_is_not_json_is_refused_here(aws: FakeAws, rlpipe: Callable[..., Said], observation: str) -> None:
    said = rlpipe("predict", "carts", "--observation", observation)
    assert said.exit_code == 2
    assert "--observation is not JSON" in said.stderr
    assert aws.calls == []


def test_an_unknown_endpoint_names_those_that_there_are(aws: FakeAws, rlpipe: Callable[..., Said]) -> None:
    aws.endpoints["carts"] = lambda body: body
    said = rlpipe("predict", "cart", "--observation", "[0]")
    assert said.exit_code == 2
    assert "use one of carts" in said.stderr


@pytest.mark.parametrize(("status", "exit_code"), [(400, 2), (500, 1)])
def test_the_servers_own_words_are_passed_on(
    aws: FakeAws, rlpipe: Callable[..., Said], status: int, exit_code: int
) -> None:
    error = {"error": {"field": "observation", "given": "a list of 1", "expected": "a list of 4 numbers"}}
    aws.failures = [
        refusal("ModelError", "InvokeEndpoint", OriginalStatusCode=status, OriginalMessage=json.dumps(error))
    ]
    said = rlpipe("predict", "carts", "--observation", "[0]")
    assert said.exit_code == exit_code
    assert "observation: a list of 4 numbers (given: a list of 1)" in said.stderr


@pytest.mark.parametrize(
    ("environment", "observation"),
    [
        ({"id": "CartPole-v1", "kwargs": {}}, "[0,0,0,0]"),
        ({"id": "FrozenLake-v1", "kwargs": {}}, "0"),
        ({"id": "log", "observation_space": {"type": "Box", "shape": [2]}, "action_space": DISCRETE}, "[0,0]"),
        ({"id": "Nowhere-v0"}, "[...]"),
        (None, "[...]"),
    ],
)
def test_a_command_to_ask_with_has_an_observation_of_the_right_form(
    environment: dict[str, Any] | None, observation: str
) -> None:
    snapshot: Any = SimpleNamespace(endpoint="mine", specification={"specification": {"environment": environment}})
    assert predict_command(snapshot) == f"rlpipe predict mine --observation '{observation}'"


def test_a_policy_on_ecs_is_asked_through_the_api(aws: FakeAws, rlpipe: Callable[..., Said]) -> None:
    aws.policies["boat"] = {"target": "ecs"}
    refused = {"error": {"field": "observation", "given": "a list of 1", "expected": "a list of 4 numbers"}}
    aws.answers = [(200, {"action": 3}), (400, refused), (502, {"message": "boat does not answer: TimeoutError"})]
    assert rlpipe("predict", "boat", "--observation", "[0, 0, 0, 0]").stdout == "3\n"
    assert "POST /services/boat/action" in aws.calls
    said = rlpipe("predict", "boat", "--observation", "[0]")
    assert (said.exit_code, "a list of 4 numbers (given: a list of 1)" in said.stderr) == (2, True)
    said = rlpipe("predict", "boat", "--observation", "[0]")
    assert (said.exit_code, "TimeoutError" in said.stderr) == (1, True)


def test_a_policy_on_ecs_that_is_off_is_not_asked(aws: FakeAws, rlpipe: Callable[..., Said]) -> None:
    aws.policies["boat"] = {"target": "ecs", "status": "Off"}
    said = rlpipe("predict", "boat", "--observation", "[0]")
    assert (said.exit_code, "boat does not answer" in said.stderr) == (2, True)
    assert "POST /services/boat/action" not in aws.calls
