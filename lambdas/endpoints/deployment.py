"""A deployment, step by step, as the state machine asks for it.

Each step looks at how things are and does the next thing, so it may be asked for again at any time. It answers with
`status`: `wait` (ask again in a while), `done`, `skip` (there was nothing to do) or `failed` (with the reason).
"""

from dataclasses import dataclass
from typing import Any

from contract import champion as champion_file
from contract.champion import Champion, Policy
from contract.layout import rehearsal_endpoint, shadow_config
from contract.run import ResolvedRun
from lambdas import moments
from lambdas.endpoints import alarms, captured, champions, expiry, hosting, lease, scaling, shadow, specifications
from lambdas.endpoints.endpoint import MISSING, Endpoint, Host
from lambdas.endpoints.hosts import host_of
from lambdas.endpoints.lease import Lease

KEPT = 3
"""Policies of an endpoint whose configuration and model are kept in SageMaker, the one that serves included."""

ABANDONED = "abandoned-"
"""Before an aborted run's id, who holds the lease while what it has begun is undone."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the state machine says with every step."""

    run: ResolvedRun
    endpoint: str
    image: str
    model_uri: str
    policy: Policy
    reason: str

    @property
    def run_id(self) -> str:
        return self.run.run_id

    @property
    def host(self) -> Host:
        """Who hosts the endpoints of the run's target."""
        return host_of(self.run.specification.deploy.target)

    @property
    def rehearsal(self) -> str:
        """The endpoint that this policy rehearses at."""
        return rehearsal_endpoint(self.run_id)


def take(event: dict[str, Any]) -> dict[str, Any]:
    """Take one step: `rehearse`, `end_rehearsal`, `shadow`, `deploy`, `promote` or `restore`."""
    run = specifications.read(event["run_id"])
    request = Request(
        run=run,
        endpoint=event["endpoint"],
        image=event["image"],
        model_uri=event["model_uri"],
        policy=Policy(
            run_id=run.run_id,
            model_package=event["model_package"],
            verdict=event["verdict_key"],
            mean_return=event["mean_return"],
        ),
        reason=event["reason"],
    )
    step = {
        "rehearse": rehearse,
        "shadow": run_in_shadow,
        "end_rehearsal": end_rehearsal,
        "deploy": deploy,
        "promote": promote,
        "restore": restore,
    }[event["step"]]
    held = lease.take(request.endpoint, request.run_id)
    if held is None:
        if event["step"] in ("rehearse", "deploy"):
            return _wait(f"{request.endpoint} is being changed by another run or command")
        return _failed(f"the right to change {request.endpoint} was lost to another run or command")
    return step(request, held)


def rehearse(request: Request, held: Lease) -> dict[str, Any]:
    """Put the policy at an endpoint of its own, which no caller knows, before one that serves is touched."""
    current = request.host.describe(request.endpoint)
    if current.is_changing:
        return _wait(f"{request.endpoint} is {current.status}")
    if current.status == "Failed":
        request.host.delete(request.endpoint)  # it answers nobody and cannot be updated
        return _wait(f"{request.endpoint} is {current.status}")
    if "before" not in held.notes:
        held.save(before=current.config)
    deploy = request.run.specification.deploy
    champion = champions.read(request.endpoint)
    if champion and champion.target != deploy.target and _serves(request.host, current, champion):
        return _failed(
            f"{request.endpoint} serves as {champion.target} and cannot become {deploy.target}: name another endpoint, "
            f"or delete this one before (rlpipe endpoints delete {request.endpoint})"
        )
    capture = captured.settings(deploy.drift.capture_percent) if deploy.drift else None
    request.host.make_servable(
        request.run_id,
        endpoint=request.endpoint,
        image=request.image,
        model_uri=request.model_uri,
        deploy=deploy,
        capture=capture,
    )
    if not current.config or not deploy.rehearse:
        return {"status": "skip"}
    rehearsal = request.host.describe(request.rehearsal)
    if rehearsal.status == MISSING:
        request.host.create(request.rehearsal, request.run_id)
        return _wait("the rehearsal begins")
    if rehearsal.is_changing:
        return _wait(f"the rehearsal's endpoint is {rehearsal.status}")
    if rehearsal.status != "InService":
        return _failed(f"the rehearsal's endpoint is {rehearsal.status}: {rehearsal.failure}")
    return {"status": "done", "endpoint": request.rehearsal}


def _serves(host: Host, current: Endpoint, champion: Champion) -> bool:
    """Whether policies of another target are in the way: one that serves, or one that is kept and another host's."""
    return bool(current.config) or (bool(champion.kept) and host_of(champion.target) is not host)


def end_rehearsal(request: Request, held: Lease) -> dict[str, Any]:
    """Delete the rehearsal's endpoint."""
    rehearsal = request.host.describe(request.rehearsal)
    if rehearsal.is_changing:
        return _wait(f"the rehearsal's endpoint is {rehearsal.status}")
    request.host.delete(request.rehearsal)
    return {"status": "done"}


def run_in_shadow(request: Request, held: Lease) -> dict[str, Any]:
    """Let the candidate see what callers ask, and compare it with the policy that serves, for as long as was asked."""
    before, section = held.notes.get("before"), request.run.specification.deploy.shadow
    if not before or section is None:
        return {"status": "skip"}
    current = request.host.describe(request.endpoint)
    if current.is_changing:
        return _wait(f"{request.endpoint} is {current.status}")
    config = shadow_config(request.run_id)
    since = held.notes.get("shadowed_since")
    if current.config == before:
        if "shadow" in held.notes:  # it is over, and the endpoint is as it was
            hosting.delete_config(config)
            return held.notes["shadow"]  # type: ignore[no-any-return]
        if held.notes.get("shadowing"):
            return _failed(f"the endpoint went back to {before}: {current.failure}")
        alarms.watch(request.endpoint, config, request.run.specification.deploy)
        shadow.begin(request.endpoint, request.run_id, before, section)
        held.save(shadowing=True)
        return _wait("the shadow begins")
    if since is None:
        held.save(shadowed_since=moments.now())
        return _wait("the shadow sees requests")
    left = section.hours * 3600 - moments.seconds_since(since)
    if left > 0:
        return _wait(f"the shadow sees requests for {left / 3600:.2f} more hours")
    document = shadow.report(request.endpoint, request.run_id, section, since=since)
    objection = shadow.objection(document, request.run.specification.deploy.max_error_percent)
    request.host.update(request.endpoint, before)
    held.save(shadow=_failed(objection) if objection else {"status": "done", "said": shadow.said(document)})
    return _wait("the shadow is over")


def deploy(request: Request, held: Lease) -> dict[str, Any]:
    """Create the endpoint, or move it to the policy gradually; done when it serves this very policy."""
    current = request.host.describe(request.endpoint)
    begun = held.notes.get("deploying", False)
    if current.is_changing:
        return _wait(f"{request.endpoint} is {current.status}")
    if current.status == "InService" and current.config == request.run_id:
        return {"status": "done"}
    if begun:
        # An endpoint that was rolled back says InService too, with the configuration of before.
        if current.status == "InService":
            why = "; ".join([current.failure, *alarms.ringing(request.endpoint)])
            return _failed(f"the endpoint went back to {current.config}: {why}")
        return _failed(f"the endpoint is {current.status}: {current.failure}")
    specification = request.run.specification.deploy
    watched = alarms.watch(request.endpoint, request.run_id, specification)
    if current.status == "InService":
        request.host.update(request.endpoint, request.run_id, specification, watched)
    else:
        request.host.create(request.endpoint, request.run_id)
    held.save(deploying=True)
    return _wait("the deployment begins")


def promote(request: Request, held: Lease) -> dict[str, Any]:
    """Note that this policy serves, and delete what is too old to go back to."""
    former = champions.read(request.endpoint)
    if former is None or former.run_id != request.run_id:
        deploy = request.run.specification.deploy
        said: Any = {"at": moments.now(), "target": deploy.target, "reason": request.reason}
        said["expires_at"] = expiry.of(deploy)
        if former is None:
            champion = champion_file.first(request.policy, endpoint=request.endpoint, **said)
        else:
            champion = former.promoted(request.policy, keep=KEPT, **said)
        champions.write(champion)
        kept = {policy.run_id for policy in champion.kept}
        for run_id in ({policy.run_id for policy in former.kept} if former else set()) - kept:
            request.host.delete_servable(run_id)
    scaling.register(request.endpoint, request.run.specification.deploy)
    held.release()
    return {"status": "done"}


def restore(request: Request, held: Lease) -> dict[str, Any]:
    """Undo what was begun. `restored` is whether a policy of before serves again, or would if its endpoint were on."""
    rehearsal, current = request.host.describe(request.rehearsal), request.host.describe(request.endpoint)
    for endpoint in (rehearsal, current):
        if endpoint.is_changing:
            return _wait(f"{endpoint.name} is {endpoint.status}")
    request.host.delete(request.rehearsal)  # also when it is gone: what it was made of may not be
    before = held.notes.get("before")
    if before is not None:
        if unsettled := _go_back(request, held, current, before):
            return unsettled
        hosting.delete_config(shadow_config(request.run_id))
        request.host.delete_servable(request.run_id)
    held.release()
    return {"status": "done", "restored": bool(before) or champions.read(request.endpoint) is not None}


def abandon(run_id: str) -> None:
    """Undo what a run has begun that was aborted. What must be waited for goes on when SageMaker tells of its end."""
    run = specifications.find(run_id)
    if run is None:
        return
    # The step that was under way when the run was aborted may still be: what it would note or begin is not its to do.
    endpoint, us = specifications.endpoint_of(run), f"{ABANDONED}{run_id}"
    held = lease.hand_over(endpoint, holder=run_id, to=us) or lease.holding(endpoint)
    if held is None or held.holder != us:
        return
    request = Request(
        run=run, endpoint=held.endpoint, image="", model_uri="", policy=Policy(run_id=run_id), reason="aborted"
    )
    while restore(request, held)["status"] == "wait":
        if any(request.host.describe(name).is_changing for name in (request.endpoint, request.rehearsal)):
            return


def _go_back(request: Request, held: Lease, current: Endpoint, before: str) -> dict[str, Any] | None:
    """One step towards how the endpoint was before; None when it is so."""
    if not before:
        if current.status == MISSING:
            return None
        request.host.delete(request.endpoint)
        alarms.forget(request.endpoint)
        return _wait(f"{request.endpoint} is being deleted")
    if current.status == "InService" and current.config == before:
        alarms.watch(request.endpoint, before, specifications.deploy_of(before, request.run))
        return None
    if held.notes.get("restoring"):
        held.release()
        return _failed(f"going back to {before} failed too: the endpoint is {current.status} with {current.config}")
    if current.status not in ("InService", MISSING):
        request.host.delete(request.endpoint)
        return _wait(f"{request.endpoint} is made anew")
    if current.status == "InService":
        request.host.update(request.endpoint, before)
    else:
        request.host.create(request.endpoint, before)
    held.save(restoring=True)
    return _wait(f"{request.endpoint} goes back to {before}")


def _wait(reason: str) -> dict[str, Any]:
    return {"status": "wait", "reason": reason}


def _failed(reason: str) -> dict[str, Any]:
    return {"status": "failed", "reason": reason}
