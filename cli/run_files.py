"""Run files on this machine, before they are submitted."""

from pathlib import Path

from cli.errors import CliError
from contract.layout import RUN_FILE, experiment_of
from contract.outcomes import ExitCode


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
