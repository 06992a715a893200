"""The table of a run whose environment replays one: which part of it, and where it is.

An environment's arguments travel as JSON, between processes and into model.json. So the table is among them as the
place where its prepared rows lie, and becomes a frame where an environment is built.
"""

import functools
import io
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from contract.layout import HELD_OUT_DATA
from contract.run import EnvironmentSection, ResolvedRun
from training_image.trainer.errors import UsageError
from training_image.trainer.storage import Storage, open_storage

if TYPE_CHECKING:
    import polars as pl

ARGUMENT = "table"


def bound(run: ResolvedRun, storage: Storage, part: str) -> ResolvedRun:
    """The run, its environment bound to one part of its table; the same run where there is none.

    :param storage: of the run.
    :param part: `contract.layout.TRAINING_DATA` or `HELD_OUT_DATA`.
    """
    specification = run.specification
    if specification.data is None or specification.data.kind != "table":
        return run
    environment = replaying(specification.environment, storage.below(part).uri)
    return run.model_copy(update={"specification": specification.model_copy(update={"environment": environment})})


def replaying(environment: EnvironmentSection, place: str) -> EnvironmentSection:
    """An environment that replays the prepared rows that lie at a place."""
    return environment.model_copy(update={"kwargs": {**environment.kwargs, ARGUMENT: place}})


def held_out(environment: EnvironmentSection) -> EnvironmentSection:
    """The environment bound to the held-out part of the table that it was trained on; the same where there is none."""
    place = environment.kwargs.get(ARGUMENT)
    if not isinstance(place, str):
        return environment
    folder, separator, _ = place.rpartition("/")
    return replaying(environment, f"{folder}{separator}{PurePosixPath(HELD_OUT_DATA).name}")


def given(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a constructor, with the table itself in place of where it is.

    Raises:
        UsageError: there is no table.
    """
    place = kwargs.get(ARGUMENT)
    return {**kwargs, ARGUMENT: read(place)} if isinstance(place, str) else kwargs


@functools.cache
def read(place: str) -> "pl.DataFrame":
    """Prepared rows, all of them.

    Raises:
        UsageError: there are none.
    """
    import polars as pl  # half a second that trainings without data need not spend

    storage = open_storage(place)
    parts = [storage.read(key) for key in storage.keys("") if key.endswith(".parquet")]
    if not parts:
        raise UsageError(f"there are no prepared rows at {place}")
    return pl.concat([pl.read_parquet(io.BytesIO(part or b"")) for part in parts])
