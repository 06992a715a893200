"""Check a run's data, and split them into what is trained on and what is held out.

By hand:         python training_image/prepare_data.py --experiment examples/battery --output prepared
In a container:  python training_image/prepare_data.py --run s3://bucket/runs/<id>
"""

import sys
from pathlib import Path

if not __package__:
    # Run as a script: packages are imported from the repository's root, and never from this folder.
    sys.path[0] = str(Path(__file__).resolve().parents[1])

if __name__ == "__main__":
    from training_image.dataset import process

    process.start()  # it imports what it needs while this process does the same

import argparse
import json
import os
import tempfile
from collections.abc import Callable

from contract.dataset import Dataset
from contract.events import Ended
from contract.layout import DATASET, RUN_FILE
from contract.outcomes import ExitCode
from contract.run import RunFileError, RunSpecification, data_files
from training_image.dataset import isolation
from training_image.dataset.errors import RejectedError
from training_image.dataset.inputs import described, fetch
from training_image.trainer.command import guarded, leave
from training_image.trainer.errors import UsageError
from training_image.trainer.monitoring.reporting import EventReporter, LineReporter, Reporter
from training_image.trainer.plan import read_run
from training_image.trainer.storage import Storage, open_storage

FOLDER = Path(DATASET).parent.name


def main(arguments: list[str] | None = None) -> int:
    """Prepare as the command line says; returns the exit code, REJECTED for data that are not fit to learn from."""
    options = _parse(arguments)
    return _in_container(options.run) if options.run else _by_hand(options)


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="prepare_data.py", description="Check and split the data of a run.")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--experiment", metavar="DIR", help="a folder with run.yaml and data/")
    source.add_argument("--run", metavar="URI", help="prefix of a prepared run; its files come from its run.json")
    parser.add_argument("--output", metavar="DIR", help="where to write, by hand (default <experiment>/prepared)")
    parser.add_argument("--json", action="store_true", help="print dataset.json on stdout, all else on stderr")
    options = parser.parse_args(arguments)
    if options.run and (options.output or options.json):
        parser.error("--run writes beside run.json, so neither --output nor --json")
    return options


def _in_container(uri: str) -> int:
    reporter = EventReporter()

    def work() -> Dataset:
        storage = open_storage(uri)
        run = read_run(storage)
        if run.specification.data is None:
            raise UsageError(f"run {run.run_id} has no data")
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            dataset = isolation.prepare(
                run.specification.data,
                run.specification.environment,
                fetch(run, folder / "inputs"),
                output=folder / "output",
                scratch=folder / "scratch",
                memory_bytes=_memory(),
            )
            _publish(folder / "output", storage.below(FOLDER))
        return dataset

    exit_code, reason, _ = _guarded(work, reporter)
    reporter.report(Ended(event="ended", exit_code=exit_code, reason=reason))
    return exit_code


def _by_hand(options: argparse.Namespace) -> int:
    reporter = LineReporter(sys.stderr if options.json else sys.stdout)
    experiment = Path(options.experiment)
    output = Path(options.output or experiment / "prepared")

    def work() -> Dataset:
        try:
            specification = RunSpecification.parse((experiment / RUN_FILE).read_bytes())
        except OSError as error:
            raise UsageError(f"--experiment {experiment}: there is no {RUN_FILE} in it") from error
        except RunFileError as error:
            raise UsageError("; ".join(map(str, error.problems))) from error
        if specification.data is None:
            raise UsageError(f"{experiment / RUN_FILE} has no data section")
        names = [str(path.relative_to(experiment)) for path in experiment.rglob("*") if path.is_file()]
        inputs = [described(name, experiment / name) for name in data_files(specification.data, names)]
        if not inputs:
            raise UsageError(f"data.files: nothing in {experiment} matches {specification.data.files}")
        with tempfile.TemporaryDirectory() as scratch:
            return isolation.prepare(
                specification.data,
                specification.environment,
                inputs,
                output=output,
                scratch=Path(scratch) / "scratch",
                memory_bytes=_memory(),
            )

    exit_code, reason, dataset = _guarded(work, reporter)
    if dataset is not None:
        reporter.log(f"Written to {output}; {output / 'card.html'} shows what the data are.")
        if options.json:
            sys.stdout.write(dataset.model_dump_json() + "\n")
    else:
        reporter.log(f"Error: {reason}")
        if options.json:
            sys.stdout.write(json.dumps({"exit_code": int(exit_code), "reason": reason}) + "\n")
    return exit_code


def _guarded(work: Callable[[], Dataset], reporter: Reporter) -> tuple[ExitCode, str, Dataset | None]:
    """Exit code, reason and dataset; of data that were rejected, the reason is why."""
    rejected: list[str] = []

    def work_or_reject() -> Dataset | None:
        try:
            return work()
        except RejectedError as error:
            rejected.append(f"The data were rejected: {error}.")
            return None

    exit_code, reason, dataset = guarded(work_or_reject, reporter)
    if rejected:
        return ExitCode.REJECTED, rejected[0], None
    if dataset is not None:
        exit_code, reason = _conclude(dataset, reporter)
    return exit_code, reason, dataset


def _conclude(dataset: Dataset, reporter: Reporter) -> tuple[ExitCode, str]:
    """Say what was found, the last lines for whoever gets only those."""
    for repair, rows in dataset.repairs.items():
        reporter.log(f"{repair}: {rows:,}")
    for warning in dataset.warnings:
        reporter.log(f"worth knowing: {warning}")
    for file in dataset.files:
        if file.refused:
            reporter.log(f"{file.file}: {file.refused}")
    for reason in reversed(dataset.reasons):
        reporter.log(f"{reason.rows:>10,} rows: {reason.reason}")
        for example in reason.examples:
            reporter.log(f"             {example.file} row {example.row:,}: {example.values}")
    reporter.log(dataset.reason)
    return ExitCode.DONE if dataset.accepted else ExitCode.REJECTED, dataset.reason


def _publish(folder: Path, storage: Storage) -> None:
    """Write all files to where they are kept; with dataset.json, the last one, they are complete."""
    dataset = Path(DATASET).name
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    for name in sorted(names, key=lambda name: name == dataset):
        storage.upload(name, folder / name)


def _memory() -> int:
    """Bytes that the worker may use: what its job has, less what is around it."""
    mebibytes = int(os.environ.get("RLPIPE_MEMORY_MIB", "0"))
    return max(isolation.MEMORY_BYTES, (mebibytes - 512) * 2**20)


if __name__ == "__main__":
    leave(main())
