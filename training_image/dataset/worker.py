"""The process that touches the files. It may use a bounded amount of memory, and a damaged file may kill it.

python -m training_image.dataset.worker, which then reads the path of its job from stdin
"""

import json
import resource
import sys
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.envs.registration import load_env_creator

from contract.catalogue import ColumnType
from contract.dataset import MIN_JUDGING_EPISODES
from contract.run import DataSection, EnvironmentSection
from training_image.dataset import card
from training_image.dataset.errors import TooLargeError
from training_image.dataset.fields import Field, table_fields, transition_fields
from training_image.dataset.inputs import InputFile
from training_image.dataset.preparation import Job, begin, opened
from training_image.dataset.tables import prepare_table
from training_image.dataset.transitions import FORMATS, Spaces, prepare_transitions
from training_image.trainer.command import leave
from training_image.trainer.envs import (
    installed,  # noqa: F401 - environments of installed packages
    spaces,
)
from training_image.trainer.errors import UsageError

READING, ERROR = "reading.txt", "error.json"
DATASET, CARD = "dataset.json", "card.html"


def main(path: str) -> int:
    """Do what a job file says; 1 when that is impossible, for the reason in `error.json`."""
    document = json.loads(Path(path).read_text(encoding="utf-8"))
    if limit := document["memory_bytes"]:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))  # what is mapped from files does not count
    scratch = Path(document["scratch"])

    def reading(name: str) -> None:
        (scratch / READING).write_text(name, encoding="utf-8")

    environment = EnvironmentSection.model_validate(document["environment"])
    job = Job(
        data=DataSection.model_validate(document["data"]),
        inputs=[InputFile(**{**given, "path": Path(given["path"])}) for given in document["inputs"]],
        output=Path(document["output"]),
        scratch=scratch,
        reading=reading,
        least_held_out=1 if environment.is_simulated else MIN_JUDGING_EPISODES,
    )
    try:
        _probe(job, environment) if document["probe"] else _prepare(job, environment)
    except (TooLargeError, UsageError) as error:
        rejected = isinstance(error, TooLargeError)
        (scratch / ERROR).write_text(json.dumps({"rejected": rejected, "reason": str(error)}), encoding="utf-8")
        return 1
    return 0


def _prepare(job: Job, environment: EnvironmentSection) -> None:
    if job.data.kind == "table":
        dataset, sample = prepare_table(job, _table_columns(environment))
    else:
        dataset, sample = prepare_transitions(job, _spaces(environment))
    (job.output / CARD).write_text(card.render(dataset, sample), encoding="utf-8")
    (job.output / DATASET).write_text(dataset.model_dump_json(indent=1), encoding="utf-8")


def _probe(job: Job, environment: EnvironmentSection) -> None:
    """Read all rows of the files and do nothing with them."""
    fields: list[Field]
    if job.data.kind == "table":
        fields = table_fields(_table_columns(environment))
    else:
        met = _spaces(environment)
        fields = transition_fields(met.observation, met.action, timed=job.data.split == "time")
    for one in opened(job, begin(job), fields, FORMATS):
        for _ in one.source.batches([f for f in fields if f.name in one.origins], one.origins):
            pass


def _spaces(environment: EnvironmentSection) -> Spaces:
    if not environment.is_simulated:
        observation, action = spaces.logged(environment)
        return Spaces(observation=observation, action=action)
    kwargs: dict[str, Any] = environment.kwargs
    made: gymnasium.Env[Any, Any] = gymnasium.make(environment.id, disable_env_checker=True, **kwargs)
    try:
        return Spaces(observation=made.observation_space, action=made.action_space)
    finally:
        made.close()


def _table_columns(environment: EnvironmentSection) -> dict[str, ColumnType]:
    entry_point: Any = gymnasium.spec(environment.id).entry_point
    creator = entry_point if callable(entry_point) else load_env_creator(entry_point)
    columns: dict[str, ColumnType] | None = getattr(creator, "table_columns", None)
    if columns is None:
        raise UsageError(f"data.kind: {environment.id} replays no table; its class has no `table_columns`")
    return columns


if __name__ == "__main__":
    job_file = sys.stdin.readline().strip()
    leave(main(job_file) if job_file else 0)  # nothing is told when there is nothing to do
