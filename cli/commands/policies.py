"""`endpoints` and `rollback`: the policies that serve."""

import time
from datetime import datetime
from typing import Annotated, Any

import typer
from rich.table import Table

from cli import output
from cli.commands.options import AsJson, Stage
from cli.deployment import Deployment, find
from cli.errors import CliError

app = typer.Typer(help="The endpoints that policies serve at.", no_args_is_help=True)

Endpoint = Annotated[
    str, typer.Argument(metavar="ENDPOINT", help="Its name; `rlpipe endpoints list` has all.", show_default=False)
]
Reason = Annotated[str | None, typer.Option(help="Why; it is kept with the endpoint.", show_default=False)]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait until it is done.")]

WAIT_SECONDS = 1800
_SETTLED = ("InService", "Off", "Deleted", "Failed", "Missing")


@app.command("list")
def list_endpoints(stage: Stage = None, as_json: AsJson = False) -> None:
    """List the endpoints: what serves there, since when, and what it costs."""
    found = find(stage).api.policies()
    if as_json:
        output.document(found)
        return
    if not found:
        output.stdout.print("There is no endpoint yet; a run that passes makes one.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("endpoint", "status", "run", "since", "a month"):
        table.add_column(column, no_wrap=True, overflow="fold")
    for policy in found:
        since = output.moment(datetime.fromisoformat(policy["since"] or policy["updated_at"]))
        costs = "" if policy["monthly_usd"] is None else f"${policy['monthly_usd']:.2f}"
        table.add_row(policy["endpoint"], policy["status"], policy["run_id"] or "", since, costs)
    output.stdout.print(table)


@app.command("off")
def off(
    endpoint: Endpoint, reason: Reason = None, no_wait: NoWait = False, stage: Stage = None, as_json: AsJson = False
) -> None:
    """Switch an endpoint off: nothing is paid for, and `on` brings it back as it was."""
    _command("off", endpoint, stage, as_json, no_wait, reason=reason)


@app.command("on")
def on(
    endpoint: Endpoint, reason: Reason = None, no_wait: NoWait = False, stage: Stage = None, as_json: AsJson = False
) -> None:
    """Switch an endpoint on again, with the policy that served last."""
    _command("on", endpoint, stage, as_json, no_wait, reason=reason)


@app.command("delete")
def delete(
    endpoint: Endpoint,
    reason: Reason = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """Delete an endpoint and what it is made of; the runs' files and the model registry stay."""
    if not yes:
        typer.confirm(f"Delete {endpoint}? It cannot be switched on again.", abort=True, err=True)
    _command("delete", endpoint, stage, as_json, True, reason=reason)


def rollback(
    endpoint: Endpoint,
    to: Annotated[
        str | None,
        typer.Option(metavar="RUN", help="The run to go back to, of those that are kept.", show_default=False),
    ] = None,
    reason: Reason = None,
    no_wait: NoWait = False,
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """Let an endpoint go back to the policy that served before."""
    deployment = find(stage)
    target = to or deployment.api.policy(endpoint)["before"]
    policy = deployment.api.command_policy(endpoint, "rollback", reason=reason, to=target)
    if not no_wait:
        policy = _settled(deployment, policy, as_json)
        if policy["run_id"] != target:
            raise CliError(
                f"{endpoint} did not go back to {target}: {policy['history'][-1]['reason'] or 'it serves on'}",
                next_step="look at the endpoint's log",
            )
    _tell(policy, as_json)


def _command(command: str, endpoint: str, stage: str | None, as_json: bool, no_wait: bool, **said: str | None) -> None:
    deployment = find(stage)
    policy = deployment.api.command_policy(endpoint, command, **said)
    _tell(policy if no_wait else _settled(deployment, policy, as_json), as_json)


def _settled(deployment: Deployment, policy: dict[str, Any], as_json: bool) -> dict[str, Any]:
    """The endpoint once nothing is in progress there."""
    deadline = time.monotonic() + WAIT_SECONDS
    told = None
    while True:
        if policy["status"] in _SETTLED:
            return policy
        if policy["status"] != told and not as_json:
            output.stderr.print(f"{policy['endpoint']}: {policy['status']}")
            told = policy["status"]
        if time.monotonic() > deadline:
            raise CliError(
                f"{policy['endpoint']} is still {policy['status']}", next_step="`rlpipe endpoints list` shows how it is"
            )
        time.sleep(deployment.poll_seconds)
        policy = deployment.api.policy(policy["endpoint"])


def _tell(policy: dict[str, Any], as_json: bool) -> None:
    if as_json:
        output.document(policy)
        return
    costs = f", about ${policy['monthly_usd']:.2f} a month" if policy["monthly_usd"] else ""
    output.stdout.print(f"{policy['endpoint']}: {policy['status']}, {policy['run_id']}{costs}")


@app.callback()
def _group() -> None:
    """The endpoints that policies serve at."""
