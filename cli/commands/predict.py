"""`predict`: ask an endpoint for an action."""

import json
from typing import Annotated, Any

import typer

from cli import output
from cli.commands.options import AsJson, Stage
from cli.deployment import find
from cli.endpoints import ask
from cli.errors import CliError
from contract.outcomes import ExitCode


def predict(
    endpoint: Annotated[
        str, typer.Argument(metavar="ENDPOINT", help="Its name; `rlpipe endpoints list` has all.", show_default=False)
    ],
    observation: Annotated[
        str,
        typer.Option(metavar="JSON", help="One observation, such as '[0.02, -0.01, 0.03, 0.04]'.", show_default=False),
    ],
    action_mask: Annotated[
        str | None,
        typer.Option(help="Which actions are valid, as JSON, for a policy that is told.", show_default=False),
    ] = None,
    state: Annotated[
        str | None, typer.Option(help="`state` of the answer before, for a policy with a memory.", show_default=False)
    ] = None,
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """Ask an endpoint which action its policy takes on an observation."""
    value = _json("--observation", observation, "[0.02, -0.01, 0.03, 0.04]")
    besides = {} if action_mask is None else {"action_mask": _json("--action-mask", action_mask, "[true, false]")}
    if state is not None:
        besides["state"] = state
    answer = ask(find(stage), endpoint, value, **besides)
    if as_json:
        output.document(answer)
    else:
        output.stdout.print(json.dumps(answer["action"]), markup=False)
        if "state" in answer:
            output.stderr.print(f"The policy has a memory; in the same episode, next: --state {answer['state']}")


def _json(option: str, text: str, example: str) -> Any:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        raise CliError(
            f"{option} is not JSON: {error}", next_step=f"write it like '{example}'", exit_code=ExitCode.USAGE
        ) from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")
