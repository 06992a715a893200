"""Showing a run until it is over: a live picture in a terminal, plain lines anywhere else."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.live import Live

from cli import display, output
from cli.deployment import Deployment
from cli.narrate import news
from cli.watch import Snapshot, follow, now
from contract.outcomes import ExitCode, Outcome

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended; a script goes no further after it."""

_EXIT_CODES = {
    Outcome.SUCCEEDED: ExitCode.DONE,
    Outcome.INVALID: ExitCode.USAGE,
    Outcome.LIMIT: ExitCode.CHECKPOINTED,
}


def exit_code(outcome: Outcome | None) -> int:
    """The exit code of a command that waited for a run's end."""
    return ExitCode.DONE if outcome is None else _EXIT_CODES.get(outcome, ExitCode.FAILED)


def watch_to_the_end(deployment: Deployment, run_id: str, *, as_json: bool) -> Snapshot:
    """Show a run until it is over and how it ended. Ctrl-C leaves the run going and exits with 130."""
    console = output.stderr if as_json else output.stdout
    with leaving_the_run_alone(run_id):
        if console.is_terminal and not as_json:
            snapshot = _watch_live(deployment, run_id, console)
        else:
            snapshot = _watch_in_lines(deployment, run_id, console)
    console.print(display.ending(snapshot))
    return snapshot


@contextmanager
def leaving_the_run_alone(run_id: str) -> Iterator[None]:
    """Make Ctrl-C end the watching and nothing else."""
    try:
        yield
    except KeyboardInterrupt:
        output.stderr.print(
            f"\nThe run goes on. `rlpipe watch {run_id}` comes back to it, `rlpipe stop {run_id}` ends it."
        )
        raise typer.Exit(INTERRUPTED) from None


class _View:
    """What is to be seen now; drawn by the clock, changed by the looks at the run."""

    def __init__(self) -> None:
        self.snapshot: Snapshot | None = None
        self.notice = ""

    def show(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot

    def say(self, notice: str) -> None:
        self.notice = notice


def _watch_live(deployment: Deployment, run_id: str, console: Console) -> Snapshot:
    view = _View()
    with Live(
        console=console,
        refresh_per_second=8,
        get_renderable=lambda: display.picture(view.snapshot, view.notice, now()),
    ):
        return follow(deployment, run_id, view.show, view.say)


def _watch_in_lines(deployment: Deployment, run_id: str, console: Console) -> Snapshot:
    seen: list[Snapshot] = []
    told: dict[int, int] = {}

    def show(snapshot: Snapshot) -> None:
        for line in news(seen[-1] if seen else None, snapshot, told, now()):
            console.print(line, markup=False)
        seen[:] = [snapshot]

    def say(notice: str) -> None:
        if notice and notice not in said:
            output.stderr.print(notice, markup=False)
        said[:] = [notice]

    said: list[str] = []
    return follow(deployment, run_id, show, say)
