"""`predict`: ask an endpoint for an action."""

import json
from typing import Annotated, Any

import typer

from cli import output
from cli.commands.options import AsJson, Stage
from cli.deployment import Deployment, find
from cli.errors import CliError, error_code
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
    answer = _ask(find(stage), endpoint, value)
    if as_json:
        output.document(answer)
    else:
        output.stdout.print(json.dumps(answer["action"]), markup=False)


def _ask(deployment: Deployment, endpoint: str, observation: Any) -> dict[str, Any]:
    from botocore.exceptions import ClientError

    try:
        response = deployment.sagemaker_runtime.invoke_endpoint(
            EndpointName=endpoint,
            ContentType="application/json",
            Accept="application/json",
            Body=json.dumps({"observation": observation}),
        )
    except ClientError as error:
        raise _refusal(deployment, endpoint, error) from error
    answer: dict[str, Any] = json.loads(response["Body"].read())
    return answer


def _refusal(deployment: Deployment, endpoint: str, error: Exception) -> Exception:
    """What an endpoint's error means for the caller; the error itself where it means nothing special."""
    response: dict[str, Any] = getattr(error, "response", {})
    if error_code(error) == "ModelError":
        status = int(response.get("OriginalStatusCode", 500))
        said = _said(str(response.get("OriginalMessage", "")))
        if 400 <= status < 500:
            return CliError(
                f"{endpoint} refused the observation: {said}",
                next_step="send an observation of the environment that it was trained in",
                exit_code=ExitCode.USAGE,
            )
        return CliError(f"{endpoint} failed with status {status}: {said}", next_step="look at the endpoint's log")
    if error_code(error) in ("ValidationError", "ValidationException"):
        known = [found["EndpointName"] for found in deployment.sagemaker.list_endpoints()["Endpoints"]]
        return CliError(
            f"{endpoint} does not answer: {response.get('Error', {}).get('Message', '')}".rstrip("."),
            next_step=f"use one of {', '.join(known)}" if known else "`rlpipe submit PATH` makes an endpoint",
            exit_code=ExitCode.USAGE,
        )
    return error


def _said(message: str) -> str:
    """The server's refusal in words, or its answer as it is."""
    try:
        error = json.loads(message)["error"]
        return f"{error['field']}: {error['expected']} (given: {error['given']})"
    except (ValueError, TypeError, KeyError):
        return message


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")
