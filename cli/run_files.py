"""Run files on this machine, before they are submitted, and what they say of their environment."""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cli.errors import CliError
from contract.catalogue import Environment, load_catalogue
from contract.layout import DATA_FOLDER, RUN_FILE, experiment_of
from contract.outcomes import ExitCode
from contract.run import EnvironmentSection, RunSpecification, data_files, described


def locate(path: Path) -> Path:
    """The run file that a path means: itself, or `run.yaml` in the folder.

    Raises:
        CliError: there is no such file.
    """
    file = path / RUN_FILE if path.is_dir() else path
    if not file.is_file():
        raise CliError(
            f"there is no run file {file}",
            next_step="name a run.yaml or a folder with one, such as examples/cartpole",
            exit_code=ExitCode.USAGE,
        )
    return file


def known_environment(environment: dict[str, Any] | None) -> Environment | None:
    """What is known of an environment, given as a run's run.json has it; None where that is nothing."""
    try:
        return described(EnvironmentSection.model_validate(environment), load_catalogue())
    except ValidationError:  # there is none, or it is of another version
        return None


def data_beside(file: Path, specification: RunSpecification) -> list[str]:
    """The data that a run file names and that lie beside it here, relative to it; the marker, which says that they are
    complete, comes last.

    Raises:
        CliError: it names some, and there are none.
    """
    data = specification.data
    if data is None:
        return []
    folder = file.parent
    names = [str(path.relative_to(folder)) for path in (folder / DATA_FOLDER).rglob("*") if path.is_file()]
    found = data_files(data, names)
    if not found:
        raise CliError(
            f"{file} learns from {data.files}, and there is no such file beside it",
            next_step=f"put the data into {folder / DATA_FOLDER}, or correct data.files",
            exit_code=ExitCode.USAGE,
        )
    marker = f"{DATA_FOLDER}/{data.marker}"
    if data.marker and marker not in names:
        raise CliError(
            f"{file} waits for {marker}, which is not there",
            next_step=f"create it when the data are complete: touch {folder / marker}",
            exit_code=ExitCode.USAGE,
        )
    return [*found, marker] if data.marker else found


def key_for(file: Path, experiment: str | None) -> str:
    """Where a run file is dropped: in the folder of its experiment, by default the folder it lies in here.

    Raises:
        CliError: nothing of the experiment's name may stand in a key.
    """
    name = (file.resolve().parent.name if experiment is None else experiment).strip("/")
    key = f"{name}/{RUN_FILE}" if name else RUN_FILE
    if experiment is not None and (".." in name.split("/") or experiment_of(key) == "default" != name):
        raise CliError(
            f"--experiment {experiment!r} is no name",
            next_step="use letters, digits and hyphens",
            exit_code=ExitCode.USAGE,
        )
    return key
