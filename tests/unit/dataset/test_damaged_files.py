"""More than sixty damaged files: each is rejected or put right as documented, none is lost, none takes much memory."""

import re
from pathlib import Path

import polars as pl
import pytest

from contract.dataset import Dataset
from contract.run import DataSection, EnvironmentSection
from tests.unit.dataset.damaged_files import CASES, ROWS, Case, log
from tests.unit.dataset.preparing import rows_of, transitions
from training_image.dataset import isolation
from training_image.dataset.inputs import described


def test_there_are_more_than_sixty_and_each_has_a_name_of_its_own() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 60


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_is_rejected_or_put_right_as_documented(case: Case, tmp_path: Path) -> None:
    path = tmp_path / case.file
    case.make(path)
    dataset = transitions(tmp_path, path, **(case.data or {}))
    (report,) = dataset.files
    if case.refused and case.refused != "-":
        assert report.refused
        assert re.search(case.refused, report.refused)
        assert not dataset.accepted
        assert "cannot be used" in dataset.reason
        return
    assert report.refused is None, report.refused
    assert dataset.rows == case.rows
    if case.rows == 0:
        assert not dataset.accepted
        return
    assert dataset.rejected == case.rejected, dataset.reasons
    if case.reason:
        assert any(case.reason in reason.reason for reason in dataset.reasons), dataset.reasons
    if case.repaired:
        assert any(case.repaired in repair for repair in [*report.repairs, *dataset.repairs])
    assert dataset.accepted == (case.rejected <= 0.05 * case.rows), dataset.reason
    nothing_is_lost(dataset, tmp_path)
    if not case.rejected:
        the_values_are_those_of_the_log(dataset, tmp_path)


def nothing_is_lost(dataset: Dataset, folder: Path) -> None:
    """Every row is in one of the parts, among the rejected ones, or was there twice."""
    kept = rows_of(folder, dataset.train, dataset.held_out)
    rejected = 0
    if dataset.rejected_file:
        rejected = len(pl.read_parquet(folder / "output" / dataset.rejected_file.path))
    twice = sum(rows for repair, rows in dataset.repairs.items() if "kept once" in repair)
    assert rejected == dataset.rejected
    assert len(kept) + rejected + twice == dataset.rows
    assert len(kept) == dataset.train.rows + dataset.held_out.rows


def the_values_are_those_of_the_log(dataset: Dataset, folder: Path) -> None:
    kept = rows_of(folder, dataset.train, dataset.held_out)
    columns = [*(f"observation_{i}" for i in range(4)), "action", "reward"]
    order = ["observation_0", "observation_1"]
    expected = log().select(columns).sort(order)
    assert kept.select(columns).sort(order).cast(dict(expected.schema)).equals(expected)


def test_all_of_them_in_one_run_are_told_apart_in_bounded_memory(tmp_path: Path) -> None:
    """Through the worker and its limit of memory, as in a run: sound files are used, each other one has its reason."""
    folder = tmp_path / "data"
    folder.mkdir()
    plain = [case for case in CASES if not case.data]
    inputs = []
    for case in plain:
        suffix = case.file.partition(".")[2]
        path = folder / f"{case.name}.{suffix}"
        case.make(path)
        inputs.append(described(f"data/{path.name}", path))
    dataset = isolation.prepare(
        DataSection(kind="transitions", max_rejected=1, episodes_per_file=True),
        EnvironmentSection(id="CartPole-v1"),
        inputs,
        output=tmp_path / "output",
        scratch=tmp_path / "scratch",
        memory_bytes=2**30,
    )
    assert not [one for one in dataset.files if "of memory, or breaks its reader" in (one.refused or "")]
    assert [report.file for report in dataset.files] == [one.name for one in inputs]
    for case, report in zip(plain, dataset.files, strict=True):
        assert bool(report.refused) == bool(case.refused and case.refused != "-"), report
    rows = dataset.train.rows + dataset.held_out.rows
    twice = sum(rows for repair, rows in dataset.repairs.items() if "kept once" in repair)
    assert rows + dataset.rejected + twice == dataset.rows


def test_a_file_that_kills_the_worker_is_refused_and_the_others_are_used(tmp_path: Path) -> None:
    """A single row group that takes more memory than there is: the reader dies of it, the run does not."""
    sound, deadly = tmp_path / "sound.parquet", tmp_path / "deadly.parquet"
    log().write_parquet(sound)
    names = [name for name in log().columns if not name.startswith("observation")]
    log().head(1).select(names).with_columns(observation=pl.zeros(60_000_000).implode()).write_parquet(deadly)
    dataset = isolation.prepare(
        DataSection(kind="transitions", max_rejected=1),
        EnvironmentSection(id="CartPole-v1"),
        [described("data/deadly.parquet", deadly), described("data/sound.parquet", sound)],
        output=tmp_path / "output",
        scratch=tmp_path / "scratch",
        memory_bytes=400 * 2**20,
    )
    refused, used = dataset.files
    assert refused.refused is not None
    assert "takes more than 400 MiB of memory" in refused.refused
    assert (used.refused, used.rows, used.rejected) == (None, ROWS, 0)
    assert dataset.train.rows + dataset.held_out.rows == ROWS
