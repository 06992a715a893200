"""`predict`: ask an endpoint for an action."""

import json
from typing import Annotated

import typer

from cli import output
from cli.commands.options import AsJson, Stage
from cli.deployment import find
from cli.endpoints import ask
from cli.errors import CliError
from contract.outcomes import ExitCode


def predict(
    endpoint: Annotated[str, typer.Argument(help="Name of the endpoint.", show_default=False)],
    observation: Annotated[str, typer.Option(help="One observation as JSON.", show_default=False)],
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """Ask an endpoint which action its policy takes on an observation."""
    try:
        value = json.loads(observation, parse_constant=_refuse_constant)
    except ValueError as error:
        raise CliError(
            f"--observation is not JSON: {error}",
            next_step="write it like '[0.02, -0.01, 0.03, 0.04]'",
            exit_code=ExitCode.USAGE,
        ) from error
    answer = ask(find(stage), endpoint, value)
    if as_json:
        output.document(answer)
    else:
        output.stdout.print(json.dumps(answer["action"]), markup=False)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")
