"""`doctor`: what would stop a run, before it starts."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from cli import output
from cli.commands.options import AsJson, Stage
from cli.deployment import Place, find_place
from cli.doctor.examination import examine
from cli.doctor.findings import Finding, Level, stops_a_run
from cli.errors import CliError
from cli.run_files import locate
from config.settings import Settings, SettingsError, load_settings
from contract.catalogue import load_catalogue
from contract.outcomes import ExitCode
from contract.run import RunFileError, RunSpecification, resolve

_MARKS = {
    Level.OK: ("✔", "green"),
    Level.NOTE: ("·", "cyan"),
    Level.WARNING: ("!", "yellow"),
    Level.UNKNOWN: ("?", "yellow"),
    Level.STOPS: ("✘", "bold red"),
}


def doctor(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="[PATH]",
            help="A run.yaml, or the folder that holds one, to look at what that run needs; left out, any run.",
            show_default=False,
        ),
    ] = None,
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """Find what would stop a run before it starts: credentials, quotas, instances, images, limits, prices.

    Each finding says what, why it matters, and the command that mends it. Exits with 1 when a run would be stopped.
    """
    specification = None if path is None else _resolved(path)
    place = find_place(stage)
    patient, findings = examine(place, _settings(place), specification)
    stopped = stops_a_run(findings)
    if as_json:
        output.document(
            {
                "stage": patient.stage,
                "account": patient.account,
                "region": patient.region,
                "stops_a_run": stopped,
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        _show(place, findings)
    raise typer.Exit(ExitCode.FAILED if stopped else ExitCode.DONE)


def _resolved(path: Path) -> RunSpecification:
    file = locate(path)
    catalogue = load_catalogue()
    try:
        specification = RunSpecification.parse(file.read_bytes(), catalogue)
    except RunFileError as error:
        raise CliError(
            f"{file} was refused: {'; '.join(str(problem) for problem in error.problems)}",
            next_step=f"mend it; `rlpipe validate {path}` checks it",
            exit_code=ExitCode.USAGE,
        ) from error
    return resolve(specification, experiment="any", catalogue=catalogue)


def _settings(place: Place) -> Settings:
    try:
        return load_settings(place.stage)
    except SettingsError as error:
        raise CliError(
            f"the settings of stage {place.stage} were refused: {error}",
            next_step=f"mend config/{place.stage}.yaml, or name another stage with --stage",
            exit_code=ExitCode.USAGE,
        ) from error


def _show(place: Place, findings: list[Finding]) -> None:
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        mark, style = _MARKS[finding.level]
        output.stdout.print(
            Text.assemble((mark, style), f" {finding.check:<{width}}  ", finding.what[:1].upper(), finding.what[1:])
        )
        if finding.level is not Level.OK:
            for sign, words in (("", finding.why), ("$ " if _is_command(finding.fix) else "→ ", finding.fix)):
                if words:
                    output.stdout.print(Text(f"  {'':<{width}}  {sign}{words}", style="dim" if not sign else ""))
    if place.is_local:
        output.stdout.print("This machine has no quotas, instance types or prices to look at.", style="dim")
    stopping = sum(finding.level is Level.STOPS for finding in findings)
    verdict = "Nothing stops a run." if not stopping else f"{stopping} thing{'s' * (stopping > 1)} would stop a run."
    output.stdout.print(verdict, style="bold red" if stopping else "bold green")


def _is_command(fix: str) -> bool:
    return fix.split(" ")[0] in ("aws", "cdk", "rlpipe", "export", "make")
