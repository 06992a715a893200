"""`ui`: runs and policies in the browser."""

import webbrowser
from typing import Annotated

import typer

from cli import output
from cli.commands.options import AsJson, Stage
from cli.deployment import find


def ui(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")] = 4580,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """Show runs and policies in the browser, until Ctrl-C. The printed address holds a token; it is for you alone."""
    from cli.ui.server import Server

    server = Server(find(stage), port)
    if as_json:
        output.document({"url": server.address})
    else:
        output.stdout.print(f"The page is at {server.address}\nCtrl-C ends it; runs go on.", markup=False)
    if open_it:
        webbrowser.open(server.address)
    server.serve()
