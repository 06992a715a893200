"""`pause`, `resume`, `stop`, `approve` and `reject`: being in charge of a run."""

from typing import Annotated, Any

import typer

from cli import output
from cli.commands.options import AsJson, RunReference, Stage
from cli.deployment import Deployment, find
from cli.runs import resolve
from cli.watch import wait
from contract.control import Command, Phase
from contract.outcomes import Outcome

Reason = Annotated[str | None, typer.Option(help="Why; it is kept with the run.", show_default=False)]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it has happened.")]

PATIENCE_SECONDS = 90.0
"""How long a command is waited for; a job has 30 s to write its checkpoint, and an account is slower than this."""

_DONE = {
    Command.PAUSE: "Paused {run}; nothing of it runs now. Go on: rlpipe resume {run}",
    Command.RESUME: "{run} goes on: rlpipe watch {run}",
    Command.STOP: "Stopped {run}; its checkpoints are kept.",
    Command.APPROVE: "Approved; {run} is being deployed: rlpipe watch {run}",
    Command.REJECT: "Rejected {run}; its policy is kept and not deployed.",
}
_REACHED: dict[Command, tuple[str, ...]] = {
    Command.PAUSE: (Phase.PAUSED,),
    Command.RESUME: (Phase.TRAINING, Phase.VALIDATING, Phase.DEPLOYING),
    Command.STOP: (Outcome.STOPPED,),
    Command.APPROVE: (Phase.DEPLOYING,),
    Command.REJECT: (Outcome.REJECTED,),
}


def pause(
    run: RunReference, reason: Reason = None, no_wait: NoWait = False, stage: Stage = None, as_json: AsJson = False
) -> None:
    """Checkpoint a run and free its instances until it is resumed."""
    _give(Command.PAUSE, run, reason, no_wait=no_wait, stage=stage, as_json=as_json)


def resume(
    run: RunReference, reason: Reason = None, no_wait: NoWait = False, stage: Stage = None, as_json: AsJson = False
) -> None:
    """Go on with a paused run from its checkpoints, or with one that failed from the step that failed."""
    _give(Command.RESUME, run, reason, no_wait=no_wait, stage=stage, as_json=as_json)


def stop(
    run: RunReference, reason: Reason = None, no_wait: NoWait = False, stage: Stage = None, as_json: AsJson = False
) -> None:
    """Stop a run. Its jobs end and its checkpoints are kept."""
    _give(Command.STOP, run, reason, no_wait=no_wait, stage=stage, as_json=as_json)


def approve(
    run: RunReference, reason: Reason = None, no_wait: NoWait = False, stage: Stage = None, as_json: AsJson = False
) -> None:
    """Deploy the policy of a run that waits for approval."""
    _give(Command.APPROVE, run, reason, no_wait=no_wait, stage=stage, as_json=as_json)


def reject(
    run: RunReference, reason: Reason = None, no_wait: NoWait = False, stage: Stage = None, as_json: AsJson = False
) -> None:
    """Keep the policy of a run that waits for approval, and do not deploy it."""
    _give(Command.REJECT, run, reason, no_wait=no_wait, stage=stage, as_json=as_json)


def _give(
    command: Command, reference: str, reason: str | None, *, no_wait: bool, stage: str | None, as_json: bool
) -> None:
    deployment = find(stage)
    run_id = resolve(deployment, reference).run_id
    record = deployment.api.command(run_id, command, reason)
    if not no_wait:
        record = _wait_for(deployment, record, command)
    if as_json:
        output.document(record)
    elif record["wish"] == command:
        output.stdout.print(f"The {command} is accepted; {run_id} is {record['state']} still: rlpipe show {run_id}")
    elif record["state"] in _REACHED[command]:
        output.stdout.print(_DONE[command].format(run=run_id))
    else:
        output.stdout.print(f"{run_id} is {record['state']} by now: rlpipe show {run_id}")


def _wait_for(deployment: Deployment, record: dict[str, Any], command: Command) -> dict[str, Any]:
    """The record once the command is carried out, or after a while as it is then."""
    waited = 0.0
    while record["wish"] == command and waited < PATIENCE_SECONDS:
        wait(deployment.poll_seconds)
        waited += deployment.poll_seconds
        record = deployment.api.run(record["run_id"])
    return record
