"""What Step Functions refuses before anything runs: definitions that lead nowhere, names that were used.

https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html
https://docs.aws.amazon.com/step-functions/latest/apireference/API_StartExecution.html
"""

import json
from collections.abc import Iterator
from typing import Any

from embedded_aws import hooks

_MODULE = "services.stepfunctions"
_State = dict[str, Any]


def install() -> None:
    """Check definitions, and answer a repeated start of what runs already with it."""
    check = hooks.private(_MODULE, "_validate_definition_jsonata")
    hooks.replace(_MODULE, "_validate_definition_jsonata", lambda text: check(text) or _problem(text))
    start = hooks.private(_MODULE, "_start_execution")
    hooks.replace(_MODULE, "_start_execution", lambda request: _running(request) or start(request))


def _running(request: _State) -> Any:
    """The answer for an execution of this name and input that runs; None when there is none."""
    machine = hooks.private(_MODULE, "_resolve_state_machine_arn")(request.get("stateMachineArn", ""))
    if not machine or not request.get("name"):
        return None
    arn = f"{machine.replace(':stateMachine:', ':execution:')}:{request['name']}"
    execution = hooks.private(_MODULE, "_executions").get(arn)
    if not execution or execution["status"] != "RUNNING" or execution["input"] != request.get("input", "{}"):
        return None
    return hooks.json_answer({"executionArn": arn, "startDate": execution["startDate"]})


def _problem(text: Any) -> str | None:
    """What is wrong with where the states of a definition lead."""
    try:
        definition = json.loads(text)
    except (TypeError, ValueError):
        return None  # ministack says so itself
    return next((f"SCHEMA_VALIDATION_FAILED: {problem}" for problem in _dead_ends(definition, "")), None)


def _dead_ends(machine: _State, path: str) -> Iterator[str]:
    states = machine.get("States")
    if not isinstance(states, dict) or not states:
        yield f"The field 'States' is missing at {path or '/'}"
        return
    if machine.get("StartAt") not in states:
        yield f"MISSING_TRANSITION_TARGET: Missing 'StartAt' target: {machine.get('StartAt')} at {path}/StartAt"
    for name, state in states.items():
        place = f"{path}/States/{name}"
        targets = [(f"{place}/{field}", state[field]) for field in ("Next", "Default") if field in state]
        for field in ("Catch", "Choices"):
            targets += [(f"{place}/{field}", entry["Next"]) for entry in state.get(field) or [] if "Next" in entry]
        for at, target in targets:
            if target not in states:
                yield f"MISSING_TRANSITION_TARGET: Missing 'Next' target: {target} at {at}"
        if state.get("Type") in ("Task", "Pass", "Wait", "Map", "Parallel") and not (
            state.get("Next") or state.get("End")
        ):
            yield f"Neither 'Next' nor 'End' is given at {place}"
        for branch in [*state.get("Branches", []), *([state["ItemProcessor"]] if "ItemProcessor" in state else [])]:
            yield from _dead_ends(branch, place)
