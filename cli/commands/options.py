"""Options and arguments that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, everything else on stderr.")]
Stage = Annotated[
    str | None,
    typer.Option(help="Stage of the account to talk to; without it this machine's embedded AWS, else dev."),
]
RunReference = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id, the beginning of it, or `latest`.", show_default=False)
]
RunFile = Annotated[
    Path, typer.Argument(metavar="PATH", help="A run.yaml, or the folder that holds one.", show_default=False)
]
