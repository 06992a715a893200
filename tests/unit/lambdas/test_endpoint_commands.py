"""Back, off, on and gone: what people and schedules may do to an endpoint that serves."""

import json
from typing import Any

import pytest

from contract.champion import Champion
from contract.run import DeploySection
from lambdas import moments
from lambdas.endpoints import handler, hosting, operations
from lambdas.endpoints.endpoint import Endpoint
from tests.unit.lambdas.endpoint_world import CHAMPION, World, world

__all__ = ["world"]

OLDER, OLD = "cartpole-00000000000a", "cartpole-00000000000b"


def current(world: World) -> Champion:
    assert world.champion
    return world.champion


def request(method: str, path: str, body: Any = None, endpoint: str = "cartpole") -> tuple[int, dict[str, Any]]:
    answer = handler.handler(
        {
            "httpMethod": method,
            "resource": path,
            "pathParameters": {"endpoint": endpoint},
            "body": None if body is None else json.dumps(body),
            "requestContext": {"identity": {"userArn": "arn:aws:iam::1:user/ada"}},
        },
        None,
    )
    return answer["statusCode"], json.loads(answer["body"])


@pytest.fixture(autouse=True)
def prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVING_PRICES", '{"instances": 2, "instance_hour": 0.1}')


def changed(world: World) -> None:
    """SageMaker tells of the endpoint."""
    operations.endpoint_changed("cartpole", world.endpoints["cartpole"].config, hosting)


def test_a_rollback_goes_one_back_and_is_noted_when_it_is_done(world: World) -> None:
    world.has_champion(OLDER, OLD)
    status, answer = request("POST", "/policies/{endpoint}/rollback", {"reason": "odd at noon"})
    assert (status, answer["status"], answer["run_id"]) == (202, "Updating", CHAMPION)
    assert world.deployments == [(OLD, None)], "at once: it has served before"
    assert world.watched == OLD
    changed(world)
    assert current(world).run_id == CHAMPION, "it is not done yet"
    world.settle("cartpole", config=OLD)
    changed(world)
    assert (current(world).run_id, current(world).before, world.holder) == (OLD, OLDER, "")
    last = current(world).history[-1]
    assert (last.what, last.by, last.reason) == ("rolled back", "user/ada", "odd at noon")


def test_a_rollback_to_any_that_is_kept_and_to_no_other(world: World) -> None:
    world.has_champion(OLDER, OLD)
    status, answer = request("POST", "/policies/{endpoint}/rollback", {"to": "cartpole-999999999999"})
    assert (status, answer["error"]) == (409, "conflict")
    assert f"kept: {OLDER}, {OLD}" in answer["message"]
    assert request("POST", "/policies/{endpoint}/rollback", {"to": OLDER})[0] == 202
    assert world.deployments == [(OLDER, None)]


def test_a_rollback_given_twice_is_one(world: World) -> None:
    world.has_champion(OLD)
    for _ in range(2):
        assert request("POST", "/policies/{endpoint}/rollback")[0] == 202
    assert len(world.deployments) == 1


def test_a_rollback_that_fails_leaves_the_policy_that_serves(world: World) -> None:
    world.has_champion(OLD)
    request("POST", "/policies/{endpoint}/rollback")
    world.settle("cartpole", failure="no capacity")
    changed(world)
    assert (current(world).run_id, world.watched, world.holder) == (CHAMPION, CHAMPION, "")
    assert (current(world).history[-1].what, "no capacity" in current(world).history[-1].reason) == ("kept", True)


def test_nothing_to_go_back_to_is_said(world: World) -> None:
    world.has_champion()
    status, answer = request("POST", "/policies/{endpoint}/rollback")
    assert (status, "cannot go back to one before it; kept: none" in answer["message"]) == (409, True)


def test_no_command_while_a_run_deploys(world: World) -> None:
    world.has_champion(OLD)
    world.holder = "cartpole-222222222222"
    for command in ("rollback", "off", "delete"):
        status, answer = request("POST", f"/policies/{{endpoint}}/{command}")
        assert (status, "being changed by a run" in answer["message"]) == (409, True), command
    assert world.endpoints["cartpole"].status == "InService"


def test_off_deletes_the_endpoint_and_keeps_what_it_is_made_of(world: World) -> None:
    world.has_champion(OLD)
    world.watched, world.scaled = CHAMPION, {"cartpole"}
    status, answer = request("POST", "/policies/{endpoint}/off", {"reason": "weekend"})
    assert (status, answer["status"], answer["monthly_usd"]) == (202, "Off", 0)
    assert (world.endpoints, world.watched, world.scaled, world.holder) == ({}, None, set(), "")
    assert world.servable == {OLD, CHAMPION}
    assert request("POST", "/policies/{endpoint}/off")[0] == 202, "given again, it is no error"
    assert [change.what for change in current(world).history] == ["off"]
    assert request("POST", "/policies/{endpoint}/rollback")[0] == 409


def test_on_brings_the_same_policy_back(world: World) -> None:
    world.has_champion(OLD)
    request("POST", "/policies/{endpoint}/off")
    status, answer = request("POST", "/policies/{endpoint}/on")
    assert (status, answer["status"], answer["monthly_usd"]) == (202, "Creating", 146)
    assert world.endpoints["cartpole"].config == CHAMPION
    assert world.watched == CHAMPION
    world.settle("cartpole")
    changed(world)
    assert world.scaled == {"cartpole"}
    assert [change.what for change in current(world).history] == ["off", "on"]


def test_delete_leaves_the_history_only(world: World) -> None:
    world.has_champion(OLD)
    status, answer = request("POST", "/policies/{endpoint}/delete")
    assert (status, answer["status"], answer["kept"]) == (202, "Deleted", [])
    assert (world.endpoints, world.servable) == ({}, set())
    status, answer = request("POST", "/policies/{endpoint}/on")
    assert (status, "a run that passes makes it anew" in answer["message"]) == (409, True)


def test_an_endpoint_in_the_middle_of_something_is_not_deleted(world: World) -> None:
    world.has_champion()
    world.endpoints["cartpole"] = Endpoint(name="cartpole", status="Updating", config=CHAMPION)
    status, answer = request("POST", "/policies/{endpoint}/off")
    assert (status, "is Updating" in answer["message"], world.holder) == (409, True, "")


def test_a_schedule_switches_off_all_and_on_what_it_has_switched_off(world: World) -> None:
    world.has_champion()
    assert handler.handler({"command": "on"}, None) == {"endpoints": []}
    assert handler.handler({"command": "off"}, None) == {"endpoints": ["cartpole"]}
    assert handler.handler({"command": "off"}, None) == {"endpoints": []}
    assert handler.handler({"command": "on"}, None) == {"endpoints": ["cartpole"]}
    world.settle("cartpole")
    request("POST", "/policies/{endpoint}/off")
    assert handler.handler({"command": "on"}, None) == {"endpoints": []}, "a person has switched it off"


def test_an_endpoint_is_switched_off_when_its_time_is_over(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.deploy = DeploySection(ttl_hours=2, rehearse=False)
    world.step("rehearse")
    world.step("deploy")
    world.settle("cartpole")
    world.step("promote")
    assert current(world).expires_at
    assert handler.handler({"command": "expire"}, None) == {"endpoints": []}
    monkeypatch.setattr(moments, "now", lambda: "2999-01-01T00:00:00.000Z")
    assert handler.handler({"command": "expire"}, None) == {"endpoints": ["cartpole"]}
    assert (current(world).on, current(world).history[-1].by) == (False, "time to live")


def test_a_request_that_makes_no_sense_is_refused(world: World) -> None:
    assert request("GET", "/policies/{endpoint}", endpoint="nobody")[0] == 404
    world.has_champion()
    status, answer = request("POST", "/policies/{endpoint}/off", {"because": "x"})
    assert (status, answer["problems"]) == (400, ["because: Extra inputs are not permitted"])
    status, answer = request("GET", "/policies/{endpoint}")
    assert (status, answer["run_id"], answer["target"]) == (200, CHAMPION, "sagemaker")


@pytest.mark.parametrize("name", ["\0", "a" * 64, "a/../b", "-", ""])
def test_what_can_be_no_endpoints_name_is_unknown(world: World, name: str) -> None:
    status, answer = request("GET", "/policies/{endpoint}", endpoint=name)
    assert (status, answer["error"]) == (404, "unknown")
