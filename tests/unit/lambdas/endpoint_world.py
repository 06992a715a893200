"""A world in which a test decides what SageMaker does between two steps of a deployment."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from contract.champion import Champion, Policy
from contract.run import DeploySection, ResolvedRun, RunSpecification, Source
from lambdas.endpoints import alarms, champions, deployment, hosting, lease, scaling, specifications
from lambdas.endpoints.endpoint import Endpoint
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
    scaled: set[str] = field(default_factory=set)
    deploy: DeploySection = field(default_factory=DeploySection)

    def serves(self, name: str, config: str) -> None:
        self.endpoints[name] = Endpoint(name=name, status="InService", config=config)

    def has_champion(self, *before: str) -> None:
        """A policy serves at `cartpole`, and these are kept."""
        self.serves("cartpole", CHAMPION)
        self.servable.update([*before, CHAMPION])
        kept = [Policy(run_id=run_id) for run_id in [*before, CHAMPION]]
        self.champion = Champion(
            endpoint="cartpole", run_id=CHAMPION, since="then", kept=kept, before=before[-1] if before else None
        )

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
        assert config in made.servable
        assert name not in made.endpoints
        made.endpoints[name] = Endpoint(name=name, status="Creating", config=config)

    def update(name: str, config: str, deploy: DeploySection | None = None, alarms: list[str] | None = None) -> None:
        gradually = hosting.gradual(deploy, alarms or []) if deploy else None
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
    monkeypatch.setattr(hosting, "delete_config", made.servable.discard)
    monkeypatch.setattr(hosting, "create", create)
    monkeypatch.setattr(hosting, "update", update)
    monkeypatch.setattr(hosting, "delete", delete)
    monkeypatch.setattr(alarms, "watch", watch)
    monkeypatch.setattr(alarms, "forget", lambda endpoint: setattr(made, "watched", None))
    monkeypatch.setattr(alarms, "ringing", lambda endpoint: ["errors: 3 of 3"] if made.watched == "ringing" else [])
    monkeypatch.setattr(specifications, "read", read)
    monkeypatch.setattr(specifications, "deploy_of", lambda run_id, otherwise=None: made.deploy)

    def holding(endpoint: str) -> Lease | None:
        return HeldLease(endpoint, made.holder, dict(made.notes)) if made.holder else None

    def hand_over(endpoint: str, *, holder: str, to: str) -> Lease | None:
        if made.holder != holder:
            return None
        made.holder = to
        return holding(endpoint)

    monkeypatch.setattr(lease, "holding", holding)
    monkeypatch.setattr(lease, "hand_over", hand_over)
    monkeypatch.setattr(specifications, "find", read)
    monkeypatch.setattr(scaling, "register", lambda endpoint, deploy: made.scaled.add(endpoint))
    monkeypatch.setattr(scaling, "deregister", lambda endpoint, target: made.scaled.discard(endpoint))
    monkeypatch.setattr(champions, "everyone", lambda: [made.champion] if made.champion else [])
    monkeypatch.setattr(champions, "read", lambda endpoint: made.champion)
    monkeypatch.setattr(champions, "write", lambda champion: setattr(made, "champion", champion))
    return made
