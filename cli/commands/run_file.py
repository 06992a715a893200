"""`submit`, `validate` and `schema`: everything about a run file."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cli import output
from cli.commands.options import AsJson, RunFile, Stage
from cli.commands.watching import exit_code, watch_to_the_end
from cli.deployment import Deployment, find
from cli.documents import run_document
from cli.errors import CliError
from cli.run_files import data_beside, key_for, locate
from contract.layout import RUN_FILE, experiment_of, run_id_of
from contract.outcomes import ExitCode
from contract.run import RunFileError, RunSpecification


def submit(
    path: RunFile,
    watch: Annotated[bool, typer.Option("--watch", help="Stay and show the run until it is over.")] = False,
    experiment: Annotated[
        str | None, typer.Option(help="Name of the experiment; the folder's name if left out.")
    ] = None,
    stage: Stage = None,
    as_json: AsJson = False,
) -> None:
    """Check a run file and drop it into the input bucket, after the data that it names; it starts a run."""
    file = locate(path)
    content = _read(file)
    specification = _checked(file, content, as_json=as_json)
    data = data_beside(file, specification)
    key = key_for(file, experiment)
    deployment = find(stage)
    _tell_costs(deployment, specification)
    _upload(deployment, file, key, data)
    submission = _drop(deployment, key, content)
    run_id = submission["run_id"]
    output.stderr.print(f"Dropped {file} at s3://{deployment.input_bucket}/{key}; it starts the run")
    if not watch:
        if as_json:
            output.document(submission)
        else:
            output.stdout.print(run_id)
            output.stderr.print(f"Next: rlpipe watch {run_id}")
        return
    snapshot = watch_to_the_end(deployment, run_id, as_json=as_json)
    if as_json:
        output.document({**submission, **run_document(snapshot, deployment)})
    raise typer.Exit(exit_code(snapshot.outcome))


def validate(path: RunFile, as_json: AsJson = False) -> None:
    """Check a run file without starting anything."""
    file = locate(path)
    specification = _checked(file, _read(file), as_json=as_json)
    if as_json:
        output.document({"valid": True, "problems": [], "specification": specification.model_dump(mode="json")})
        return
    seeds = len(specification.seeds)
    output.stdout.print(
        f"{file} is valid: {specification.algorithm.name} on {specification.environment.id}, "
        f"{specification.timesteps:,} steps, {seeds} seed{'s' if seeds > 1 else ''}.",
        markup=False,
    )


def schema(as_json: AsJson = False) -> None:
    """Print the JSON Schema of a run file, for editors."""
    from cli.reference import schema_document  # no other command makes a document of the models

    output.document(schema_document())


def _tell_costs(deployment: Deployment, specification: RunSpecification) -> None:
    """What the endpoint will cost, before anything is started."""
    target = specification.deploy.target
    costs = deployment.api.monthly_usd().get(target, 0.0) if target != "none" else 0.0
    if costs:
        hours = specification.deploy.ttl_hours
        until = f"; it is switched off after {hours:g} hours" if hours else ""
        output.stderr.print(f"A policy that passes is deployed to {target}: about ${costs:.2f} a month{until}")


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise CliError(
            f"{file} cannot be read: {error.strerror}", next_step="look at its permissions", exit_code=ExitCode.USAGE
        ) from error


def _checked(file: Path, content: bytes, *, as_json: bool) -> RunSpecification:
    try:
        return RunSpecification.parse(content)
    except RunFileError as error:
        if as_json:
            problems = [problem.model_dump(mode="json") for problem in error.problems]
            output.document({"valid": False, "problems": problems})
        output.stderr.print(f"{file} was refused; nothing was started.", markup=False)
        for problem in error.problems:
            output.stderr.print(f"- {problem}", markup=False)
        raise typer.Exit(ExitCode.USAGE) from error


def _upload(deployment: Deployment, file: Path, key: str, data: list[str]) -> None:
    """Put the data into the bucket before the run file, so that its run has them all."""
    folder = key.removesuffix(RUN_FILE)
    for number, name in enumerate(data, 1):
        output.stderr.print(f"{number} of {len(data)}: {name}", markup=False)
        deployment.s3.upload_file(Filename=str(file.parent / name), Bucket=deployment.input_bucket, Key=folder + name)


def _drop(deployment: Deployment, key: str, content: bytes) -> dict[str, Any]:
    bucket = deployment.input_bucket
    answer = deployment.s3.put_object(Bucket=bucket, Key=key, Body=content, ContentType="application/yaml")
    version_id = answer.get("VersionId")
    if not version_id:
        raise CliError(
            f"the bucket {bucket} keeps no versions, so it is not this pipeline's input bucket",
            next_step="look at RLPIPE_INPUT_BUCKET or deploy again",
            exit_code=ExitCode.USAGE,
        )
    return {
        "run_id": run_id_of(bucket, key, version_id),
        "experiment": experiment_of(key),
        "bucket": bucket,
        "key": key,
        "version_id": version_id,
    }
