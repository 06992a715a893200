"""`runs`, `show`, `watch`, `logs` and `report`: looking at runs that exist."""

import webbrowser
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import display, output
from cli.artifacts import download
from cli.commands.options import AsJson, RunReference, Stage
from cli.commands.watching import exit_code, leaving_the_run_alone, watch_to_the_end
from cli.deployment import STATE_FOLDER, find
from cli.documents import run_document
from cli.errors import CliError
from cli.jobs import LogLine
from cli.narrate import log_text
from cli.runs import resolve
from cli.watch import Observer, Snapshot, follow, now
from contract.layout import RunLayout


def runs(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list.")] = 20,
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """List the newest runs: state, progress, return, cost, age."""
    found = find(stage).api.runs(limit)
    if as_json:
        output.document(found)
    elif not found:
        output.stdout.print("There is no run yet; `rlpipe submit PATH` starts one.")
    else:
        output.stdout.print(display.run_table(found, now()))


def show(run: RunReference, stage: Stage = None, as_json: AsJson = False) -> None:
    """Show one run: its stages, outcome, verdict, and where its files are."""
    deployment = find(stage)
    found = resolve(deployment, run)
    snapshot = Observer(deployment, found.run_id).look()
    assert snapshot is not None, "a run that was found can be looked at"
    document = run_document(snapshot, deployment)
    if as_json:
        output.document(document)
        return
    began = output.moment(snapshot.run.started)
    output.stdout.print(f"[bold]{found.run_id}[/bold]  began {began}, {output.duration(snapshot.seconds(now()))}")
    output.stdout.print(display.stages(snapshot, now()))
    if snapshot.outcome is not None:
        output.stdout.print(display.ending(snapshot))
    else:
        output.stdout.print(f"It goes on: rlpipe watch {found.run_id}")
    output.stdout.print(f"Files: {document['artifacts']['all']}")


def watch(run: RunReference, stage: Stage = None, as_json: AsJson = False) -> None:
    """Watch a run until it is over.

    Exits with 0 when it succeeded, 2 when its file was refused, 75 when it reached a limit, 1 for every other
    outcome. Ctrl-C leaves the run going and exits with 130.
    """
    deployment = find(stage)
    snapshot = watch_to_the_end(deployment, resolve(deployment, run).run_id, as_json=as_json)
    if as_json:
        output.document(run_document(snapshot, deployment))
    raise typer.Exit(exit_code(snapshot.outcome))


def logs(
    run: RunReference,
    follow_it: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run is over.")] = False,
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """Print what the jobs of a run wrote."""
    deployment = find(stage)
    run_id = resolve(deployment, run).run_id
    lines: list[LogLine] = []

    def take(snapshot: Snapshot) -> None:
        lines.extend(snapshot.new_lines)
        for line in snapshot.new_lines:
            console.print(_log_line(line), markup=False)

    console = output.stderr if as_json else output.stdout
    if follow_it:
        with leaving_the_run_alone(run_id):
            follow(deployment, run_id, take, lambda notice: output.stderr.print(notice) if notice else None)
    elif (snapshot := Observer(deployment, run_id).look()) is not None:
        take(snapshot)
    if as_json:
        written = [{"job": line.job, "timestamp": _when(line), "message": line.message} for line in lines]
        output.document({"run_id": run_id, "lines": written})
    elif not lines:
        output.stderr.print("Its jobs have written nothing, or Batch has forgotten them.")


def report(
    run: RunReference,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """Download the validation report of a run and print its path."""
    deployment = find(stage)
    found = resolve(deployment, run)
    path = Path(STATE_FOLDER).absolute() / "reports" / f"{found.run_id}.html"
    if not download(deployment, RunLayout(run_id=found.run_id).report, path):
        ended = f"ended as {found.outcome} before" if found.outcome else "has not come to"
        raise CliError(
            f"the run {found.run_id} {ended} validation, so it has no report", next_step=f"`rlpipe show {found.run_id}`"
        )
    if as_json:
        output.document({"run_id": found.run_id, "path": str(path)})
    else:
        output.stdout.print(str(path), markup=False)
    if open_it:
        webbrowser.open(path.as_uri())


def _when(line: LogLine) -> datetime:
    return datetime.fromtimestamp(line.timestamp / 1000, UTC)


def _log_line(line: LogLine) -> str:
    return f"{_when(line).astimezone():%H:%M:%S} {line.job:<9} {log_text(line.message)}"
