"""What preparing says of a run's data; written to `dataset.json`, the same bytes for the same inputs."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

MAX_EXAMPLES = 3
"""Rows that are shown of each reason."""

MIN_JUDGING_EPISODES = 8
"""Held-out episodes of a log from which a policy's return can be estimated; of fewer an interval would say nothing."""

MAX_COLUMNS_DESCRIBED = 256
"""Columns whose figures are kept."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class Example(_Model):
    """One row that could not be used."""

    file: str
    row: int = Field(description="Which row of the file, counted from 1; a header is none.")
    values: str = Field(description="The row as JSON, shortened.")


class Reason(_Model):
    """Why rows could not be used."""

    reason: str
    rows: int
    examples: list[Example]


class FileReport(_Model):
    """What was found in one file."""

    file: str
    bytes: int
    sha256: str
    format: str | None = Field(description="parquet, csv, jsonl, npz or hdf5; null when it is none of them.")
    rows: int = Field(description="Rows that it has.")
    rejected: int = Field(description="Rows of it that could not be used.")
    refused: str | None = Field(default=None, description="Why the file as a whole could not be used.")
    repairs: list[str] = Field(default=[], description="What was put right without losing anything.")


class Column(_Model):
    """The numbers of one column, over the rows to train on."""

    name: str
    mean: float
    std: float
    min: float
    max: float


class OutputFile(_Model):
    """One Parquet file of prepared rows, by its path relative to `dataset.json`."""

    path: str
    rows: int
    bytes: int
    sha256: str


class Part(_Model):
    """The rows to train on, or those that are held out."""

    rows: int = 0
    episodes: int | None = Field(default=None, description="Of transitions.")
    mean_return: float | None = Field(default=None, description="Of the logged episodes.")
    min_return: float | None = None
    max_return: float | None = None
    begins: str | None = Field(default=None, description="First time in it, if there are times.")
    ends: str | None = None
    files: list[OutputFile] = []


class ActionUse(_Model):
    """How much of the action space the log shows, over the rows to train on."""

    name: str
    labels: list[str] = Field(description="The actions, or the ranges into which their bounds are cut.")
    rows: list[int]
    covered: float = Field(description="Share of these that occurs at all.")


class Dataset(_Model):
    """`dataset.json`."""

    format: Literal[1] = 1
    kind: Literal["transitions", "table"]
    accepted: bool
    reason: str = Field(description="One sentence: why it was accepted or not, with its figures.")
    rows: int = Field(description="Rows that the readable files have.")
    rejected: int = Field(description="Rows that could not be used; all of them are in rejected.parquet.")
    max_rejected: float
    split: Literal["episode", "time"]
    held_out_share: float
    files: list[FileReport]
    reasons: list[Reason] = Field(description="The commonest first.")
    repairs: dict[str, int] = Field(description="What was put right, and in how many rows.")
    warnings: list[str] = Field(description="What is usable and yet worth knowing.")
    train: Part
    held_out: Part
    columns: list[Column]
    actions: list[ActionUse] = []
    rejected_file: OutputFile | None = None
