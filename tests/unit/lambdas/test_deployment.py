"""The steps of a deployment, in a world where a test decides what SageMaker does between two of them."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from contract.champion import Champion
from contract.run import DeploySection, ResolvedRun, RunSpecification, Source
from lambdas.endpoints import alarms, champions, deployment, hosting, lease, specifications
from lambdas.endpoints.hosting import Endpoint
from lambdas.endpoints.lease import Lease

RUN, REHEARSAL = "cartpole-222222222222", "rehearsal-222222222222"
CHAMPION = "cartpole-111111111111"


@dataclass
class World:
    """SageMaker, CloudWatch, the lease and the champion, as far as a deployment knows of them."""

    endpoints: dict[str, Endpoint] = field(default_factory=dict)
    servable: set[str] = field(default_factory=set)
    deployments: list[Any] = field(default_factory=list)
    watched: str | None = None
    """The run whose policy the alarms watch."""
    notes: dict[str, Any] = field(default_factory=dict)
    holder: str = ""
    champion: Champion | None = None
    deploy: DeploySection = field(default_factory=DeploySection)

    def serves(self, name: str, config: str) -> None:
        self.endpoints[name] = Endpoint(name=name, status="InService", config=config)

    def settle(self, name: str, status: str = "InService", config: str | None = None, failure: str = "") -> None:
        """What was in progress at an endpoint comes to its end."""
        before = self.endpoints[name]
        self.endpoints[name] = Endpoint(name=name, status=status, config=config or before.config, failure=failure)

    def step(self, name: str, **more: Any) -> dict[str, Any]:
        event = {
            "step": name,
            "run_id": RUN,
            "endpoint": "cartpole",
            "image": "image",
            "model_uri": "s3://artifacts/model.tar.gz",
            "model_package": "arn:package/7",
            "verdict_key": "verdict.json",
            "mean_return": 480.0,
            "reason": "passed",
        }
        return deployment.take({**event, **more})


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()

    class HeldLease(Lease):
        def save(self, **notes: Any) -> None:
            made.notes.update(notes)
            self.notes.update(notes)

        def release(self) -> None:
            made.holder, made.notes = "", {}

    def take(endpoint: str, holder: str) -> Lease | None:
        if made.holder not in ("", holder):
            return None
        made.holder = holder
        return HeldLease(endpoint, holder, dict(made.notes))

    def create(name: str, config: str) -> None:
        assert config in made.servable | {CHAMPION}
        assert name not in made.endpoints
        made.endpoints[name] = Endpoint(name=name, status="Creating", config=config)

    def update(name: str, config: str, gradually: Any = None) -> None:
        assert made.endpoints[name].status == "InService"
        made.endpoints[name] = Endpoint(name=name, status="Updating", config=made.endpoints[name].config)
        made.deployments.append((config, gradually))

    def delete(name: str) -> None:
        if name in made.endpoints:
            assert not made.endpoints[name].is_changing, "SageMaker would refuse"
            del made.endpoints[name]

    def watch(endpoint: str, run_id: str, deploy: DeploySection) -> list[str]:
        made.watched = run_id
        return ["errors", "latency"]

    def read(run_id: str) -> ResolvedRun:
        specification = RunSpecification.parse(b"environment: {id: CartPole-v1}").model_copy(
            update={"deploy": made.deploy}
        )
        source = Source(bucket="input", key="cartpole/run.yaml", version_id="1")
        return ResolvedRun(
            run_id=run_id,
            experiment="cartpole",
            source=source,
            specification=specification,
            submitted_at="now",
            versions={},
        )

    monkeypatch.setenv("SERVING_INSTANCES", "2")
    monkeypatch.setattr(lease, "take", take)
    monkeypatch.setattr(
        hosting, "describe", lambda name: made.endpoints.get(name, Endpoint(name=name, status="Missing"))
    )
    monkeypatch.setattr(hosting, "make_servable", lambda run_id, **_: made.servable.add(run_id))
    monkeypatch.setattr(hosting, "delete_servable", made.servable.discard)
    monkeypatch.setattr(hosting, "create", create)
    monkeypatch.setattr(hosting, "update", update)
    monkeypatch.setattr(hosting, "delete", delete)
    monkeypatch.setattr(alarms, "watch", watch)
    monkeypatch.setattr(alarms, "forget", lambda endpoint: setattr(made, "watched", None))
    monkeypatch.setattr(alarms, "ringing", lambda endpoint: ["errors: 3 of 3"] if made.watched == "ringing" else [])
    monkeypatch.setattr(specifications, "read", read)
    monkeypatch.setattr(specifications, "deploy_of", lambda run_id, otherwise: made.deploy)
    monkeypatch.setattr(champions, "read", lambda endpoint: made.champion)
    monkeypatch.setattr(champions, "write", lambda champion: setattr(made, "champion", champion))
    return made


def serving(world: World) -> None:
    world.serves("cartpole", CHAMPION)
    world.servable.add(CHAMPION)
    world.champion = Champion(endpoint="cartpole", run_id=CHAMPION, since="then")


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
    serving(world)
    assert world.step("rehearse")["status"] == "wait"
    assert world.step("rehearse")["status"] == "wait"
    world.settle(REHEARSAL)
    assert world.step("rehearse") == {"status": "done", "endpoint": REHEARSAL}
    assert world.step("end_rehearsal") == {"status": "done"}
    assert REHEARSAL not in world.endpoints
    assert world.deployments == [], "nobody who calls has noticed anything"


def test_a_rehearsal_can_be_left_out(world: World) -> None:
    serving(world)
    world.deploy = DeploySection(rehearse=False)
    assert world.step("rehearse") == {"status": "skip"}


def test_an_update_is_gradual_and_watched(world: World) -> None:
    serving(world)
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
    serving(world)
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
    serving(world)
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
    serving(world)
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
    serving(world)
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
    serving(world)
    world.step("rehearse")
    world.settle(REHEARSAL, status="Failed", failure="no such library")
    answer = world.step("rehearse")
    assert answer == {"status": "failed", "reason": "the rehearsal's endpoint is Failed: no such library"}
    assert world.step("restore") == {"status": "done", "restored": True}
    assert set(world.endpoints) == {"cartpole"}
    assert world.servable == {CHAMPION}


def test_a_rehearsal_in_progress_is_waited_for_before_it_is_deleted(world: World) -> None:
    serving(world)
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
    serving(world)
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
    serving(world)
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
    serving(world)
    world.step("promote")
    once = world.champion
    world.step("promote")
    assert world.champion == once
