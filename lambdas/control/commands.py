"""Commands: into the record if the table allows it, and then carried out."""

import contextlib
import os
from typing import Any

import boto3
from pydantic import ValidationError

from contract.api import CommandBody
from contract.control import Command, is_repeated, possible, state_of
from contract.outcomes import Outcome
from contract.record import MAX_REASON, Refusal
from lambdas.control import jobs, runs, table
from lambdas.control.answers import Answer, ApiError

_states = boto3.client("stepfunctions")

TRIES = 5
"""The pipeline itself changes the record at the same time; after each lost race the table is asked again."""

_DONE = {
    Command.PAUSE: "paused",
    Command.RESUME: "resumed",
    Command.STOP: "stopped",
    Command.APPROVE: "approved",
    Command.REJECT: "rejected",
}


class CannotGoOnError(Exception):
    """Step Functions does not redrive the execution of a run that is over: it ended too long ago, or is gone."""


def give(run_id: str, command: Command, body: str | None, who: str) -> Answer:
    """Give a run a command. 202 with its record when it is, or was, accepted; 409 with what is possible."""
    said = _reason(body)
    reason = f"{_DONE[command]} by {who}" + (f": {said}" if said else "")
    for _ in range(TRIES):
        record = runs.existing(run_id)
        state, wish = state_of(record["state"]), _wish(record)
        if is_repeated(state, wish, command):
            return _accepted(record)
        if command not in possible(state, wish):
            return Answer(409, _refusal(record, command))
        changed = table.write_wish(record, command, by=who, reason=reason[:MAX_REASON])
        if changed is not None:
            return _accepted(changed)
    return Answer(409, _refusal(runs.existing(run_id), command))


def _accepted(record: dict[str, Any]) -> Answer:
    try:
        carry_out(record)
    except CannotGoOnError as error:
        message = f"the run {record['run_id']} cannot go on: {error}; submit its file again"
        return Answer(409, Refusal(message=message, state=record["state"]))
    return Answer(202, runs.shown(record))


def carry_out(record: dict[str, Any]) -> None:
    """Do what a record's wish means: end its jobs, or wake the state machine that waits. Harmless when done twice.

    Raises CannotGoOnError when a run that is over was to go on; the wish is taken back then.
    """
    if _wish(record) in (Command.PAUSE, Command.STOP):
        jobs.terminate(record)
    if record["state"] in Outcome.__members__ and _wish(record) is Command.RESUME:
        _redrive(record)
    token = record.get("token")
    if token and record.get("wish"):
        gone = (_states.exceptions.TaskDoesNotExist, _states.exceptions.TaskTimedOut)
        with contextlib.suppress(*gone):  # it waits no longer: the wish was read, or will be
            _states.send_task_success(taskToken=token, output="{}")


def _redrive(record: dict[str, Any]) -> None:
    """Let the run's execution go on from the step that failed. Raises CannotGoOnError."""
    execution = f"{os.environ['STATE_MACHINE_ARN'].replace(':stateMachine:', ':execution:')}:{record['run_id']}"
    try:
        _states.redrive_execution(executionArn=execution)
    except (_states.exceptions.ExecutionNotRedrivable, _states.exceptions.ExecutionDoesNotExist) as error:
        if not _is_going_on(execution):  # else somebody was faster
            why = str(error.response["Error"].get("Message", "it is too old"))
            table.take_back_wish(record, reason=f"it cannot go on: {why}"[:MAX_REASON])
            raise CannotGoOnError(why) from error


def _is_going_on(execution: str) -> bool:
    try:
        status: str = _states.describe_execution(executionArn=execution)["status"]
    except _states.exceptions.ExecutionDoesNotExist:
        return False
    return status == "RUNNING"


def _wish(record: dict[str, Any]) -> Command | None:
    return Command(record["wish"]) if record.get("wish") else None


def _reason(body: str | None) -> str:
    try:
        return CommandBody.model_validate_json(body or "{}").reason
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, e['loc'])) or 'the body'}: {e['msg']}" for e in error.errors()]
        raise ApiError(400, "invalid", "the body is not what this command takes", problems) from None


def _refusal(record: dict[str, Any], command: Command) -> Refusal:
    state, wish = state_of(record["state"]), _wish(record)
    going_on = f" and {wish} is being carried out" if wish else ""
    now = possible(state, wish)
    return Refusal(
        message=f"{command} makes no sense now: the run {record['run_id']} is {state}{going_on}; possible now: "
        f"{', '.join(now) or 'nothing'}",
        state=state,
        wish=wish,
        possible=now,
    )
