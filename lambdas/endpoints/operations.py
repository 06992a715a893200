"""Commands of people and schedules to an endpoint that serves: back, off, on, and gone."""

from contract.champion import Champion
from contract.layout import REHEARSAL
from lambdas import moments
from lambdas.endpoints import alarms, champions, deployment, expiry, lease, scaling, specifications
from lambdas.endpoints.endpoint import MISSING, Endpoint, Host
from lambdas.endpoints.hosts import host_of
from lambdas.endpoints.lease import Lease


class RefusedError(Exception):
    """A command that makes no sense now; the text says why, and what is possible."""


def rollback(champion: Champion, *, by: str, reason: str, to: str | None = None) -> Champion:
    """Begin to go back to the policy of before, or to another one that is kept. Given again, it is no error."""
    kept = [policy.run_id for policy in champion.kept]
    target = to or champion.before
    if not champion.on:
        raise RefusedError(f"{champion.endpoint} is off; rlpipe endpoints on {champion.endpoint}")
    if target is None or target not in kept or target == champion.run_id:
        others = ", ".join(run_id for run_id in kept if run_id != champion.run_id) or "none"
        raise RefusedError(
            f"{champion.endpoint} serves {champion.run_id} and cannot go back to {target or 'one before it'}; kept: "
            f"{others}"
        )
    held = _take(champion.endpoint, f"rollback-to-{target}")
    current = host_of(champion.target).describe(champion.endpoint)
    if current.is_changing:
        if "command" not in held.notes:
            held.release()
            raise RefusedError(f"{champion.endpoint} is {current.status}; try again when it is InService")
        return champion
    alarms.watch(champion.endpoint, target, specifications.deploy_of(target))
    held.save(command="rollback", to=target, by=by, reason=reason)
    if current.config == target:
        return _settle_rollback(champion, held, current)
    host_of(champion.target).update(champion.endpoint, target)
    return champion


def off(champion: Champion, *, by: str, reason: str) -> Champion:
    """Delete the endpoint and keep all it is made of: nothing is paid for, and `on` brings it back as it was."""
    held = _take(champion.endpoint, f"off-{champion.endpoint}")
    try:
        _delete_endpoint(champion)
        if not champion.on:
            return champion
        return _write(champion.switched(on=False, by=by, at=moments.now(), reason=reason))
    finally:
        held.release()


def on(champion: Champion, *, by: str, reason: str) -> Champion:
    """Create the endpoint anew, with the policy that served last."""
    if not champion.kept:
        raise RefusedError(f"{champion.endpoint} was deleted; a run that passes makes it anew")
    held = _take(champion.endpoint, f"on-{champion.endpoint}")
    try:
        current = host_of(champion.target).describe(champion.endpoint)
        if current.status == "Deleting":
            raise RefusedError(f"{champion.endpoint} is {current.status}; try again in a while")
        if current.status == MISSING:
            deploy = specifications.deploy_of(champion.run_id)
            alarms.watch(champion.endpoint, champion.run_id, deploy)
            host_of(champion.target).create(champion.endpoint, champion.run_id)
            champion = champion.model_copy(update={"expires_at": expiry.of(deploy)})
        if champion.on:
            return _write(champion)
        return _write(champion.switched(on=True, by=by, at=moments.now(), reason=reason))
    finally:
        held.release()


def delete(champion: Champion, *, by: str, reason: str) -> Champion:
    """Delete the endpoint with the configurations and models that are kept. Files and model packages stay."""
    held = _take(champion.endpoint, f"delete-{champion.endpoint}")
    try:
        _delete_endpoint(champion)
        for policy in champion.kept:
            host_of(champion.target).delete_servable(policy.run_id)
        gone = champion.model_copy(update={"on": False, "kept": [], "before": None})
        return _write(gone.changed("deleted", by, moments.now(), reason)) if champion.kept else champion
    finally:
        held.release()


def by_schedule(command: str) -> list[str]:
    """Carry out a schedule's command for every endpoint that it is for; their names.

    `off` is for all that are on, `on` for those that a schedule has switched off, `expire` for those whose time is
    over.
    """
    done = []
    for champion in champions.everyone():
        expired = champion.expires_at is not None and champion.expires_at <= moments.now()
        last = champion.history[-1] if champion.history else None
        by_clock = last is not None and (last.what, last.by) == ("off", "schedule")
        try:
            if command == "off" and champion.on:
                off(champion, by="schedule", reason="the stage's schedule")
            elif command == "expire" and champion.on and expired:
                off(champion, by="time to live", reason="deploy.ttl_hours are over")
            elif command == "on" and not champion.on and by_clock:
                on(champion, by="schedule", reason="the stage's schedule")
            else:
                continue
        except RefusedError:
            continue  # it is being deployed to; the next time comes
        done.append(champion.endpoint)
    return done


def endpoint_changed(name: str, config: str, host: Host) -> None:
    """An endpoint has come to rest: finish what a command began, or what an aborted run has left.

    :param config: what it was told to serve; empty when it is gone by now.
    """
    if name.startswith(REHEARSAL):
        run = specifications.find(config) if config else None
        if run is None:
            return
        name = specifications.endpoint_of(run)
    held, champion = lease.holding(name), champions.read(name)
    current = host.describe(name)
    if held is None:
        if champion and champion.on and current.status == "InService":
            scaling.register(name, specifications.deploy_of(champion.run_id))  # it was switched on
        return
    if held.holder.startswith(deployment.ABANDONED):
        deployment.abandon(held.holder.removeprefix(deployment.ABANDONED))
        return
    if held.notes.get("command") == "rollback" and champion and not current.is_changing:
        _settle_rollback(champion, held, current)


def _settle_rollback(champion: Champion, held: Lease, current: Endpoint) -> Champion:
    notes, at = held.notes, moments.now()
    if current.config == notes["to"]:
        champion = champion.rolled_back(notes["to"], at=at, by=notes["by"], reason=notes["reason"])
    else:
        alarms.watch(champion.endpoint, champion.run_id, specifications.deploy_of(champion.run_id))
        champion = champion.changed("kept", notes["by"], at, f"going back to {notes['to']} failed: {current.failure}")
    _write(champion)
    held.release()
    return champion


def _take(endpoint: str, holder: str) -> Lease:
    held = lease.take(endpoint, holder)
    if held is None:
        raise RefusedError(f"{endpoint} is being changed by a run or another command; try again in a while")
    return held


def _delete_endpoint(champion: Champion) -> None:
    name, host = champion.endpoint, host_of(champion.target)
    current = host.describe(name)
    if current.is_changing and current.status != "Deleting":
        raise RefusedError(f"{name} is {current.status}; try again when it is InService")
    if current.status not in (MISSING, "Deleting"):
        scaling.deregister(name, champion.target)
        host.delete(name)
    alarms.forget(name)


def _write(champion: Champion) -> Champion:
    champions.write(champion)
    return champion
