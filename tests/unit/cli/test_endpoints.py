"""`endpoints` and `rollback`: what a person sees and says."""

import io
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.commands import policies
from tests.unit.cli.conftest import Said
from tests.unit.cli.fake_aws import FakeAws

Rlpipe = Callable[..., Said]


@pytest.fixture
def serving(aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> FakeAws:
    """`carts` serves, and no time passes."""
    aws.endpoints["carts"] = lambda body: {"action": 0}
    monkeypatch.setattr(policies.time, "sleep", lambda _seconds: None)
    return aws


def test_the_list_says_what_serves_and_what_it_costs(serving: FakeAws, rlpipe: Rlpipe) -> None:
    said = rlpipe("endpoints", "list")
    head, row = said.stdout.splitlines()
    assert head.split() == ["endpoint", "status", "run", "since", "a", "month"]
    assert row.split()[:3] == ["carts", "InService", "cartpole-2"]
    assert row.split()[-1] == "$40.88"
    assert rlpipe("endpoints", "list", "--json").document[0]["kept"] == ["cartpole-1", "cartpole-2"]


def test_a_rollback_waits_until_the_policy_of_before_serves(serving: FakeAws, rlpipe: Rlpipe) -> None:
    said = rlpipe("rollback", "carts", "--reason", "odd")
    assert (said.exit_code, said.stdout) == (0, "carts: InService, cartpole-1, about $40.88 a month\n")
    assert serving.given == [("carts", "rollback", "cartpole-1")]
    assert "carts: Updating" in said.stderr


def test_a_rollback_may_name_the_run_and_need_not_wait(serving: FakeAws, rlpipe: Rlpipe) -> None:
    said = rlpipe("rollback", "carts", "--to", "cartpole-0", "--no-wait", "--json")
    assert (said.document["status"], serving.given) == ("Updating", [("carts", "rollback", "cartpole-0")])


def test_a_rollback_that_did_not_happen_is_a_failure(serving: FakeAws, rlpipe: Rlpipe) -> None:
    history = [{"at": "now", "what": "kept", "run_id": "cartpole-2", "by": "me", "reason": "no capacity"}]
    stayed = {**serving._policy("carts"), "history": history}
    serving.answers.append((202, stayed))
    said = rlpipe("rollback", "carts")
    assert said.exit_code == 1
    assert "carts did not go back to cartpole-1: no capacity" in said.stderr


def test_a_command_that_makes_no_sense_now_is_told(serving: FakeAws, rlpipe: Rlpipe) -> None:
    serving.answers.append((409, {"error": "conflict", "message": "carts is being changed by a run"}))
    said = rlpipe("endpoints", "off", "carts")
    assert (said.exit_code, "carts is being changed by a run" in said.stderr) == (2, True)


def test_off_and_on(serving: FakeAws, rlpipe: Rlpipe) -> None:
    assert rlpipe("endpoints", "off", "carts").stdout == "carts: Off, cartpole-2\n"
    assert rlpipe("endpoints", "on", "carts").stdout.startswith("carts: InService")
    assert [command for _, command, _ in serving.given] == ["off", "on"]


def test_delete_asks_first(serving: FakeAws, rlpipe: Rlpipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert rlpipe("endpoints", "delete", "carts").exit_code != 0
    assert serving.given == []
    assert rlpipe("endpoints", "delete", "carts", "--yes").exit_code == 0
    assert serving.given == [("carts", "delete", None)]


def test_submit_says_what_the_endpoint_will_cost(aws: FakeAws, rlpipe: Rlpipe) -> None:
    Path("run.yaml").write_text("environment: {id: CartPole-v1}\ndeploy: {ttl_hours: 8}\n")
    aws.monthly_usd = {"sagemaker": 40.88}
    said = rlpipe("submit", "run.yaml", "--experiment", "carts")
    assert "deployed to sagemaker: about $40.88 a month; it is switched off after 8 hours" in said.stderr
    Path("run.yaml").write_text("environment: {id: CartPole-v1}\ndeploy: {target: none}\n")
    assert "a month" not in rlpipe("submit", "run.yaml", "--experiment", "carts").stderr
