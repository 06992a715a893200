"""The entry point of `rlpipe`: its commands and its exit codes.

0 done, 1 the run or the check failed, 2 the command or its input was wrong, 75 checkpointed and may be continued,
130 interrupted by Ctrl-C.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from cli import output
from cli.commands import control, doctor, local, policies, predict, run_file, runs, ui
from cli.errors import CliError, explain

app = typer.Typer(
    name="rlpipe",
    help="Train, validate and serve policies: on this machine or in an AWS account, with the same commands.",
    epilog="Begin with `rlpipe local up`, then `rlpipe submit examples/cartpole --watch`. Exits with 0 when done, "
    "1 when the run or check failed, 2 when the command or its input was wrong, 75 when the run is checkpointed and "
    "may be continued.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(local.app, name="local", rich_help_panel="This machine")
app.add_typer(policies.app, name="endpoints", rich_help_panel="Policies")
_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Run files": (run_file.submit, run_file.validate, run_file.schema),
    "Runs": (runs.runs, runs.show, runs.watch, runs.logs, runs.report),
    "Control": (control.pause, control.resume, control.stop, control.approve, control.reject),
    "Policies": (predict.predict, policies.rollback),
    "In the browser": (ui.ui,),
    "Stage": (doctor.doctor,),
}


def _print_version(asked: bool) -> None:
    if asked:
        output.stdout.print(f"rlpipe {version('rlpipe')}", highlight=False)
        raise typer.Exit


@app.callback()
def _options(
    asked: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of `rlpipe` itself."""


for _panel, _commands in _PANELS.items():
    for _command in _commands:
        app.command(rich_help_panel=_panel)(_command)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(given)
    except CliError as error:
        _fail(error, given)
    except Exception as error:
        known = explain(error)
        if known is None:
            raise
        _fail(known, given)


def _fail(error: CliError, arguments: list[str]) -> None:
    output.failure(error, as_json="--json" in arguments)
    sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
