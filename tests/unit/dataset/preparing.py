"""Preparing data in tests, in this process: a test that a file kills would show that it is dangerous."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from gymnasium import spaces

from contract.dataset import Dataset, Part
from contract.run import DataSection
from training_image.dataset.inputs import described
from training_image.dataset.preparation import Job
from training_image.dataset.tables import prepare_table
from training_image.dataset.transitions import Spaces, prepare_transitions

CARTPOLE = Spaces(
    observation=spaces.Box(
        np.array([-4.8, -np.inf, -0.41887903, -np.inf], np.float32),
        np.array([4.8, np.inf, 0.41887903, np.inf], np.float32),
    ),
    action=spaces.Discrete(2),
)


def job(folder: Path, files: Sequence[Path], **data: Any) -> Job:
    for name in ("output", "scratch"):
        (folder / name).mkdir(exist_ok=True)
    return Job(
        data=DataSection.model_validate({"kind": "transitions", "max_rejected": 0.05, **data}),
        inputs=[described(f"data/{path.name}", path) for path in files],
        output=folder / "output",
        scratch=folder / "scratch",
    )


def transitions(folder: Path, *files: Path, spaces: Spaces = CARTPOLE, **data: Any) -> Dataset:
    return prepare_transitions(job(folder, files, **data), spaces)[0]


def table(folder: Path, *files: Path, columns: Mapping[str, Any], **data: Any) -> Dataset:
    return prepare_table(job(folder, files, kind="table", **data), columns)[0]


def rows_of(folder: Path, *parts: Part) -> pl.DataFrame:
    """All prepared rows of some parts."""
    frames = [pl.read_parquet(folder / "output" / file.path) for part in parts for file in part.files]
    return pl.concat(frames) if frames else pl.DataFrame()
