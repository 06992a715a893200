"""The steps of a deployment, in a world where a test decides what SageMaker does between two of them."""

import pytest

from contract.champion import Champion
from contract.run import DeploySection
from lambdas.endpoints import deployment, hosting, operations, specifications
from lambdas.endpoints.endpoint import Endpoint
from tests.unit.lambdas.endpoint_world import CHAMPION, REHEARSAL, RUN, World, world

__all__ = ["world"]


def test_a_first_policy_is_created_without_a_rehearsal(world: World) -> None:
    assert world.step("rehearse") == {"status": "skip"}
    assert world.step("deploy")["status"] == "wait"
    assert world.step("deploy")["status"] == "wait", "it is being created"
    world.settle("cartpole")
    assert world.step("deploy") == {"status": "done"}
    assert world.watched == RUN
    assert world.step("promote") == {"status": "done"}
    assert world.champion
    assert (world.champion.run_id, world.champion.model_package) == (RUN, "arn:package/7")
    assert world.holder == ""


def test_a_policy_rehearses_where_no_caller_is_before_another_is_replaced(world: World) -> None:
    world.has_champion()
    assert world.step("rehearse")["status"] == "wait"
    assert world.step("rehearse")["status"] == "wait"
    world.settle(REHEARSAL)
    assert world.step("rehearse") == {"status": "done", "endpoint": REHEARSAL}
    assert world.step("end_rehearsal") == {"status": "done"}
    assert REHEARSAL not in world.endpoints
    assert world.deployments == [], "nobody who calls has noticed anything"


def test_a_rehearsal_can_be_left_out(world: World) -> None:
    world.has_champion()
    world.deploy = DeploySection(rehearse=False)
    assert world.step("rehearse") == {"status": "skip"}


def test_an_update_is_gradual_and_watched(world: World) -> None:
    world.has_champion()
    world.deploy = DeploySection(canary_percent=10, bake_minutes=2, rehearse=False)
    world.step("rehearse")
    world.step("deploy")
    [(config, gradually)] = world.deployments
    policy = gradually["BlueGreenUpdatePolicy"]
    assert config == RUN
    assert policy["TrafficRoutingConfiguration"] == {
        "Type": "CANARY",
        "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": 10},
        "WaitIntervalInSeconds": 120,
    }
    assert policy["TerminationWaitInSeconds"] == 120
    watched = gradually["AutoRollbackConfiguration"]["Alarms"]
    assert watched == [{"AlarmName": "errors"}, {"AlarmName": "latency"}]


def test_a_serverless_endpoint_is_updated_by_sagemakers_own_ways(world: World) -> None:
    assert hosting.gradual(DeploySection(target="sagemaker-serverless"), ["errors"]) is None


def test_an_endpoint_keeps_its_target(world: World) -> None:
    world.has_champion()
    world.deploy = DeploySection(target="sagemaker-serverless")
    answer = world.step("rehearse")
    assert answer["status"] == "failed"
    assert "serves as sagemaker and cannot become sagemaker-serverless" in answer["reason"]
    assert world.step("restore") == {"status": "done", "restored": True}


@pytest.mark.parametrize(("instances", "percent"), [("1", 25), ("2", 0)])
def test_one_instance_or_no_canary_is_moved_at_once(
    world: World, monkeypatch: pytest.MonkeyPatch, instances: str, percent: int
) -> None:
    monkeypatch.setenv("SERVING_INSTANCES", instances)
    gradually = hosting.gradual(DeploySection(canary_percent=percent), ["errors"])
    assert gradually
    assert gradually["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]["Type"] == "ALL_AT_ONCE"


def test_an_endpoint_that_went_back_says_in_service_too(world: World) -> None:
    world.has_champion()
    world.deploy = DeploySection(rehearse=False)
    world.step("rehearse")
    world.step("deploy")
    world.settle("cartpole", failure="alarm(s) have been triggered")
    world.watched = "ringing"
    answer = world.step("deploy")
    assert answer["status"] == "failed"
    assert answer["reason"] == f"the endpoint went back to {CHAMPION}: alarm(s) have been triggered; errors: 3 of 3"
    assert world.step("restore") == {"status": "done", "restored": True}
    assert (world.watched, world.servable, world.holder) == (CHAMPION, {CHAMPION}, "")


def test_what_serves_wrongly_makes_way_for_the_policy_of_before(world: World) -> None:
    world.has_champion()
    world.deploy = DeploySection(rehearse=False)
    world.step("rehearse")
    world.step("deploy")
    world.settle("cartpole", config=RUN)
    assert world.step("deploy") == {"status": "done"}
    assert world.step("restore")["status"] == "wait"
    assert world.step("restore")["status"] == "wait"
    world.settle("cartpole", config=CHAMPION)
    assert world.step("restore") == {"status": "done", "restored": True}
    assert world.deployments[-1] == (CHAMPION, None)
    assert world.servable == {CHAMPION}


def test_a_way_back_that_fails_is_said(world: World) -> None:
    world.has_champion()
    world.deploy = DeploySection(rehearse=False)
    world.step("rehearse")
    world.step("deploy")
    world.settle("cartpole", config=RUN)
    world.step("restore")
    world.settle("cartpole", config=RUN)
    answer = world.step("restore")
    assert answer["status"] == "failed"
    assert f"going back to {CHAMPION} failed too" in answer["reason"]


def test_a_first_policy_that_fails_leaves_nothing(world: World) -> None:
    world.step("rehearse")
    world.step("deploy")
    world.settle("cartpole", status="Failed", failure="no such library")
    assert world.step("deploy") == {"status": "failed", "reason": "the endpoint is Failed: no such library"}
    assert world.step("restore")["status"] == "wait"
    assert world.step("restore") == {"status": "done", "restored": False}
    assert (world.endpoints, world.servable, world.watched) == ({}, set(), None)


def test_a_rehearsal_that_does_not_start_is_told_and_cleared_away(world: World) -> None:
    world.has_champion()
    world.step("rehearse")
    world.settle(REHEARSAL, status="Failed", failure="no such library")
    answer = world.step("rehearse")
    assert answer == {"status": "failed", "reason": "the rehearsal's endpoint is Failed: no such library"}
    assert world.step("restore") == {"status": "done", "restored": True}
    assert set(world.endpoints) == {"cartpole"}
    assert world.servable == {CHAMPION}


def test_a_rehearsal_in_progress_is_waited_for_before_it_is_deleted(world: World) -> None:
    world.has_champion()
    world.step("rehearse")
    assert world.step("restore")["status"] == "wait"
    world.settle(REHEARSAL)
    assert world.step("restore") == {"status": "done", "restored": True}
    assert set(world.endpoints) == {"cartpole"}


def test_an_endpoint_that_is_off_stays_off_when_its_next_policy_fails(world: World) -> None:
    world.champion = Champion(endpoint="cartpole", run_id=CHAMPION, since="then", on=False)
    world.step("rehearse")
    world.step("deploy")
    world.settle("cartpole")
    world.step("deploy")
    assert world.step("restore")["status"] == "wait"
    assert world.step("restore") == {"status": "done", "restored": True}
    assert world.endpoints == {}


def test_two_runs_do_not_change_an_endpoint_at_once(world: World) -> None:
    world.has_champion()
    world.holder = "cartpole-333333333333"
    assert world.step("rehearse")["status"] == "wait"
    assert world.step("restore")["status"] == "failed"
    assert (set(world.endpoints), world.deployments) == ({"cartpole"}, [])


def test_a_failed_endpoint_is_cleared_away_first(world: World) -> None:
    world.endpoints["cartpole"] = Endpoint(name="cartpole", status="Failed")
    assert world.step("rehearse")["status"] == "wait"
    assert world.step("rehearse") == {"status": "skip"}
    assert world.endpoints == {}


def test_what_is_too_old_to_go_back_to_is_deleted(world: World) -> None:
    world.has_champion()
    assert world.champion
    older = [f"cartpole-00000000000{number}" for number in range(2)]
    world.champion = world.champion.model_copy(
        update={"kept": [deployment.Policy(run_id=run_id) for run_id in [*older, CHAMPION]]}
    )
    world.servable.update(older)
    world.step("rehearse")
    world.serves("cartpole", RUN)
    world.step("promote")
    assert world.servable == {older[1], CHAMPION, RUN}
    assert world.champion.before == CHAMPION


def test_a_promotion_that_is_asked_for_again_changes_nothing(world: World) -> None:
    world.has_champion()
    world.step("promote")
    once = world.champion
    world.step("promote")
    assert world.champion == once


def test_a_run_that_is_aborted_in_its_rehearsal_leaves_nothing(world: World) -> None:
    world.has_champion()
    world.step("rehearse")
    deployment.abandon(RUN)
    assert REHEARSAL in world.endpoints, "it is being created, and cannot be deleted"
    world.settle(REHEARSAL)
    operations.endpoint_changed(REHEARSAL, RUN, hosting)
    assert (set(world.endpoints), world.servable, world.holder) == ({"cartpole"}, {CHAMPION}, "")


def test_a_step_that_is_still_under_way_when_its_run_is_aborted_does_no_more(world: World) -> None:
    world.has_champion()
    world.step("rehearse")
    deployment.abandon(RUN)
    for step in ("rehearse", "deploy", "promote"):
        assert world.step(step)["status"] in ("wait", "failed")
    assert world.champion
    assert (set(world.endpoints), world.champion.run_id) == ({"cartpole", REHEARSAL}, CHAMPION)
    world.settle(REHEARSAL, status="Failed")
    operations.endpoint_changed(REHEARSAL, RUN, hosting)
    assert (set(world.endpoints), world.servable, world.holder) == ({"cartpole"}, {CHAMPION}, "")


def test_what_is_told_of_a_rehearsal_that_is_gone_by_now_asks_for_no_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The role may read runs, and the name of none is no run's: S3 would refuse."""
    asked: list[str] = []
    monkeypatch.setattr(specifications, "find", asked.append)
    operations.endpoint_changed(REHEARSAL, "", hosting)
    assert asked == []


def test_a_run_that_is_aborted_while_it_deploys_is_undone(world: World) -> None:
    world.has_champion()
    world.deploy = DeploySection(rehearse=False)
    world.step("rehearse")
    world.step("deploy")
    deployment.abandon(RUN)
    world.settle("cartpole", config=RUN)
    operations.endpoint_changed("cartpole", RUN, hosting)
    assert world.deployments[-1] == (CHAMPION, None)
    world.settle("cartpole", config=CHAMPION)
    operations.endpoint_changed("cartpole", CHAMPION, hosting)
    assert (world.endpoints["cartpole"].config, world.servable, world.holder) == (CHAMPION, {CHAMPION}, "")


def test_an_abort_of_a_run_that_deployed_nothing_changes_nothing(world: World) -> None:
    world.has_champion()
    deployment.abandon(RUN)
    world.holder = "cartpole-333333333333"
    deployment.abandon(RUN)
    assert (set(world.endpoints), world.holder) == ({"cartpole"}, "cartpole-333333333333")
