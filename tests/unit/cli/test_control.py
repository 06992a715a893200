"""Commands to a run, and how a shell learns what became of them."""

import json
from collections.abc import Callable
from typing import Any

import boto3
import pytest
from botocore.httpsession import URLLib3Session

from cli.api import KEY_VARIABLE, Api
from cli.errors import CliError
from contract.control import Command
from tests.unit.cli.conftest import Said
from tests.unit.cli.fake_aws import Execution, FakeAws, record

RUN = "cartpole-0123456789ab"
AFTERWARDS = {
    Command.PAUSE: "PAUSED",
    Command.RESUME: "TRAINING",
    Command.STOP: "STOPPED",
    Command.APPROVE: "DEPLOYING",
    Command.REJECT: "REJECTED",
}


@pytest.fixture
def world(aws: FakeAws) -> FakeAws:
    aws.executions = {RUN: Execution(RUN)}
    return aws


@pytest.mark.parametrize("command", Command)
def test_a_command_is_given_and_waited_for(world: FakeAws, rlpipe: Callable[..., Said], command: Command) -> None:
    world.answers = [(202, record(RUN, wish=str(command)))]
    world.records = {RUN: record(RUN, AFTERWARDS[command])}
    said = rlpipe(command, "latest", "--reason", "why not")
    assert said.exit_code == 0
    assert RUN in said.stdout
    assert world.given == [(RUN, command, "why not")]
    assert world.calls[-1] == f"GET /runs/{RUN}"


def test_a_command_need_not_be_waited_for(world: FakeAws, rlpipe: Callable[..., Said]) -> None:
    world.answers = [(202, record(RUN, wish="pause"))]
    assert rlpipe("pause", RUN, "--no-wait", "--json").document["wish"] == "pause"
    assert world.calls[-1] == f"POST /runs/{RUN}/pause"


def test_a_command_that_takes_too_long_is_not_called_done(world: FakeAws, rlpipe: Callable[..., Said]) -> None:
    world.records = {RUN: record(RUN, wish="pause")}
    said = rlpipe("pause", RUN)
    assert (said.exit_code, "accepted" in said.stdout, "Paused" in said.stdout) == (0, True, False)


def test_a_command_that_makes_no_sense_says_what_does(world: FakeAws, rlpipe: Callable[..., Said]) -> None:
    refusal = {"message": "approve makes no sense now", "state": "PAUSED", "possible": ["resume", "stop"]}
    world.answers = [(409, refusal)]
    said = rlpipe("approve", RUN)
    assert said.exit_code == 2
    assert "approve makes no sense now" in said.stderr
    assert "`rlpipe resume RUN` or `rlpipe stop RUN`" in said.stderr


def test_endpoints_are_listed(world: FakeAws, rlpipe: Callable[..., Said]) -> None:
    assert "no endpoint yet" in rlpipe("endpoints", "list").stdout
    world.endpoints = {"cartpole": lambda _: None}
    assert "InService" in rlpipe("endpoints", "list").stdout
    assert rlpipe("endpoints", "list", "--json").document[0]["endpoint"] == "cartpole"


class Sent:
    """What an HTTP session was asked to send, and the answer it gives."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes) -> None:
        self.requests: list[Any] = []
        answer = type("Answer", (), {"status_code": status, "content": body, "text": body.decode()})

        def send(_session: Any, request: Any) -> Any:
            self.requests.append(request)
            return answer

        monkeypatch.setattr(URLLib3Session, "send", send)


@pytest.fixture
def api() -> Api:
    return Api(
        "https://abc.execute-api.eu-west-1.amazonaws.com/v1/", boto3.Session(region_name="eu-west-1"), is_local=False
    )


def test_requests_are_signed_with_the_callers_credentials(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "secret")
    sent = Sent(monkeypatch, 200, json.dumps({"run_id": RUN}).encode())
    assert api.run(RUN) == {"run_id": RUN}
    [request] = sent.requests
    assert request.url == f"https://abc.execute-api.eu-west-1.amazonaws.com/v1/runs/{RUN}"
    assert "/eu-west-1/execute-api/aws4_request" in request.headers["Authorization"]
    assert request.headers["x-api-key"] == "secret"


@pytest.mark.parametrize(
    ("status", "body", "exit_code", "said"),
    [
        (403, b'{"message": "Forbidden"}', 2, "Forbidden"),
        (404, b'{"message": "there is no run x", "problems": []}', 2, "there is no run x"),
        (400, b'{"message": "no", "problems": ["timesteps: a whole number"]}', 2, "no: timesteps: a whole number"),
        (500, b"<html>", 1, "<html>"),
    ],
)
def test_a_refusal_is_said_in_the_apis_words(
    api: Api, monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, exit_code: int, said: str
) -> None:
    Sent(monkeypatch, status, body)
    with pytest.raises(CliError) as refused:
        api.run("x")
    assert refused.value.exit_code == exit_code
    assert said in refused.value.message
