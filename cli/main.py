"""The entry point of `rlpipe`: its commands and its exit codes.

0 done, 1 the run or the check failed, 2 the command or its input was wrong, 75 checkpointed and may be continued,
130 interrupted by Ctrl-C.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from cli import output
from cli.errors import CliError, explain

_GROUPS = {"local": ("local", "This machine"), "endpoints": ("policies", "Policies")}
"""Groups of commands: the module in `cli.commands` whose `app` they are, and the panel of the help."""

_PANELS = {
    "Run files": {"submit": "run_file", "validate": "run_file", "schema": "run_file"},
    "Runs": {"runs": "runs", "show": "runs", "watch": "runs", "logs": "runs", "report": "runs"},
    "Control": dict.fromkeys(("pause", "resume", "stop", "approve", "reject"), "control"),
    "Policies": {"predict": "predict", "rollback": "policies"},
    "In the browser": {"ui": "ui"},
    "Stage": {"doctor": "doctor"},
}
"""By panel of the help, commands and the module in `cli.commands` that has a function of their name."""


def application(first: str = "") -> typer.Typer:
    """The command line. Where `first`, the first word given, is a command, it has only this one.

    A command's imports are half of the time that a short one takes, and it needs no others'.
    """
    app = typer.Typer(
        name="rlpipe",
        help="Train, validate and serve policies: on this machine or in an AWS account, with the same commands.",
        epilog="Begin with `rlpipe local up`, then `rlpipe submit examples/cartpole --watch`. Exits with 0 when done, "
        "1 when the run or check failed, 2 when the command or its input was wrong, 75 when the run is checkpointed "
        "and may be continued.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    known = {*_GROUPS, *(name for commands in _PANELS.values() for name in commands)}
    wanted = {first} if first in known else known
    for name, (module, panel) in _GROUPS.items():
        if name in wanted:
            app.add_typer(_module(module).app, name=name, rich_help_panel=panel)
    for panel, commands in _PANELS.items():
        for name, module in commands.items():
            if name in wanted:
                app.command(name, rich_help_panel=panel)(getattr(_module(module), name))
    return app


def _module(name: str) -> Any:
    return importlib.import_module(f"cli.commands.{name}")


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version  # a tenth of a second, for this alone

        output.stdout.print(f"rlpipe {version('rlpipe')}", highlight=False)
        raise typer.Exit


def _options(
    asked: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of `rlpipe` itself."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        application(given[0] if given else "")(given)
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
