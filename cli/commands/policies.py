"""`endpoints`: the policies that serve."""

import typer
from rich.table import Table

from cli import output
from cli.commands.options import AsJson, Stage
from cli.deployment import find

app = typer.Typer(help="The endpoints that policies serve at.", no_args_is_help=True)


@app.command("list")
def list_endpoints(stage: Stage = None, as_json: AsJson = False) -> None:
    """List the endpoints and whether they serve."""
    found = find(stage).api.policies()
    if as_json:
        output.document(found)
        return
    if not found:
        output.stdout.print("There is no endpoint yet; a run that passes makes one.")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("endpoint", "status", "updated"):
        table.add_column(column, no_wrap=True)
    for policy in found:
        table.add_row(policy["endpoint"], policy["status"], policy["updated_at"])
    output.stdout.print(table)


@app.callback()
def _group() -> None:
    """The endpoints that policies serve at."""
