"""Runs the worker, survives it, and finds out which file it died of."""

import json
import shutil
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from contract.dataset import Dataset
from contract.run import DataSection, EnvironmentSection
from training_image.dataset import process
from training_image.dataset.errors import RejectedError
from training_image.dataset.inputs import InputFile
from training_image.trainer.errors import TrainingError, UsageError

DATASET, ERROR = "dataset.json", "error.json"
MEMORY_BYTES = 1536 * 2**20


def prepare(
    data: DataSection,
    environment: EnvironmentSection,
    inputs: Sequence[InputFile],
    *,
    output: Path,
    scratch: Path,
    memory_bytes: int = MEMORY_BYTES,
) -> Dataset:
    """Prepare files that lie on this machine; `output` then has dataset.json and all that it names.

    A file that takes the worker more memory than it may use, or that kills it, is refused like any other that cannot
    be read.

    Raises:
        RejectedError: the data do not fit into memory where they must.
        UsageError: the environment does not say what its data are.
        TrainingError: the worker failed though it can read each file.
    """
    base = {"data": data.model_dump(mode="json"), "environment": environment.model_dump(mode="json")}
    ended = _run(base, inputs, output, scratch, memory_bytes)
    if ended is not None:
        found = [replace(one, refused=_died_of(base, one, output, scratch, memory_bytes)) for one in inputs]
        if all(one.refused is None for one in found):
            raise TrainingError(f"preparing the data failed: {ended}")
        ended = _run(base, found, output, scratch, memory_bytes)
        if ended is not None:
            raise TrainingError(f"preparing the data failed: {ended}")
    return Dataset.model_validate_json((output / DATASET).read_text(encoding="utf-8"))


def _died_of(base: Mapping[str, Any], one: InputFile, output: Path, scratch: Path, memory_bytes: int) -> str | None:
    """Why reading this file alone kills the worker; None if it does not."""
    if one.refused is not None:
        return one.refused
    ended = _run({**base, "probe": True}, [one], output, scratch, memory_bytes)
    return None if ended is None else f"reading it {ended}"


def _run(
    base: Mapping[str, Any], inputs: Sequence[InputFile], output: Path, scratch: Path, memory_bytes: int
) -> str | None:
    """None when the worker did it; otherwise how it ended.

    Raises:
        RejectedError, UsageError: it said why it cannot be done.
    """
    for folder in (output, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    job = {
        "probe": False,
        **base,
        "inputs": [{**asdict(one), "path": str(one.path)} for one in inputs],
        "output": str(output),
        "scratch": str(scratch),
        "memory_bytes": memory_bytes,
    }
    path = scratch / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    exit_code, on_stderr = process.worker().run(path)
    if exit_code == 0:
        return None
    if (scratch / ERROR).exists():
        said = json.loads((scratch / ERROR).read_text(encoding="utf-8"))
        raise (RejectedError if said["rejected"] else UsageError)(said["reason"])
    return _ending(exit_code, on_stderr, memory_bytes)


def _ending(code: int, said: str, memory_bytes: int) -> str:
    lines = [line for line in said.strip().splitlines() if line.strip()]
    if code < 0 or "memory allocation" in said or "MemoryError" in said or "out of memory" in said.lower():
        name = signal.Signals(-code).name if code < 0 else "an error"
        return f"ended in {name}: it takes more than {memory_bytes // 2**20:,} MiB of memory, or breaks its reader"
    return f"failed: {lines[-1] if lines else f'exit code {code}'}"
