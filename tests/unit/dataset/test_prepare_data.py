"""The command: in a container beside a run.json, and by hand for whoever wants to know before dropping anything."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contract.dataset import Dataset
from contract.outcomes import ExitCode
from contract.run import Input, ResolvedRun, RunSpecification, Source
from tests.unit.dataset.damaged_files import ROWS, csv, log, with_cell
from training_image import prepare_data

RUN_FILE = "environment: {id: CartPole-v1}\ndata: {kind: transitions}\n"


# A process of its own, as the peak of a command includes that of the process which starts it.
PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    folder = tmp_path / "experiment"
    (folder / "data").mkdir(parents=True)
    (folder / "run.yaml").write_text(RUN_FILE)
    (folder / "data" / "log.csv").write_text(csv())
    return folder


def test_by_hand(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert prepare_data.main(["--experiment", str(experiment)]) == ExitCode.DONE
    output = experiment / "prepared"
    dataset = Dataset.model_validate_json((output / "dataset.json").read_text())
    assert (dataset.rows, dataset.rejected) == (ROWS, 0)
    assert all((output / file.path).is_file() for file in dataset.train.files + dataset.held_out.files)
    card = (output / "card.html").read_text()
    assert "<script" not in card
    assert "http" not in card
    assert "1,000" in card
    assert "observation_3" in card
    assert "The data were accepted: 1,000 rows" in capsys.readouterr().out


def test_bad_data_are_rejected_with_a_table_of_reasons(experiment: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = csv()
    for row in range(1, 200):
        content = with_cell(row, "reward", "n/a", content)
    (experiment / "data" / "log.csv").write_text(content)
    assert prepare_data.main(["--experiment", str(experiment)]) == ExitCode.REJECTED
    said = capsys.readouterr().out
    assert "199 rows: reward is not a number" in said
    assert 'data/log.csv row 1: {"episode":"0"' in said
    assert "200 of 1,000 rows in 1 of 1 files cannot be used, 20 %; at most 1 % may" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "run.yaml").unlink(), "there is no run.yaml"),
        (lambda folder: (folder / "run.yaml").write_text("environment: {id: CartPole-v1}"), "has no data section"),
        (lambda folder: (folder / "data" / "log.csv").unlink(), "nothing in"),
        (lambda folder: (folder / "run.yaml").write_text("environment: {id: CartPole-v9}"), "did you mean"),
    ],
)
def test_what_is_missing_is_said(experiment: Path, change, said: str, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    change(experiment)
    assert prepare_data.main(["--experiment", str(experiment), "--json"]) == ExitCode.USAGE
    out = capsys.readouterr()
    assert said in json.loads(out.out)["reason"]
    assert said in out.err


def test_run_as_a_script_it_does_the_same(experiment: Path) -> None:
    command = [sys.executable, prepare_data.__file__, "--experiment", str(experiment), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, Dataset.model_validate_json(done.stdout).rows) == (ExitCode.DONE, ROWS)
    (experiment / "run.yaml").unlink()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.USAGE


def test_millions_of_rows_in_any_order_take_as_much_memory_as_few(experiment: Path) -> None:
    """Sorted as a whole, these take 1.5 GB."""
    rows, steps = 6_000_000, 200
    number = np.random.default_rng(0).permutation(rows)
    observations = {f"observation_{i}": np.full(rows, 0.01 * i, np.float32) for i in range(4)}
    ends = {"terminated": number % steps == steps - 1, "truncated": np.zeros(rows, bool)}
    acts = {"action": number % 2, "reward": np.ones(rows)}
    frame = pl.DataFrame({"episode": number // steps, "step": number % steps, **observations, **acts, **ends})
    frame.write_parquet(experiment / "data" / "log.parquet")
    (experiment / "data" / "log.csv").unlink()
    del frame, number, observations, ends, acts
    command = [sys.executable, "-c", PEAK, sys.executable, prepare_data.__file__, "--experiment", str(experiment)]
    environment = os.environ | {"POLARS_MAX_THREADS": "2"}
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    assert "6,000,000 rows" in said
    assert int(said.splitlines()[-1]) / 1024 < 1000


def test_a_worker_that_is_told_nothing_ends() -> None:
    command = [sys.executable, "-m", "training_image.dataset.worker"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


class FakeBucket:
    """A bucket with one file, whose version is asked for."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def download_file(self, bucket: str, key: str, path: str, ExtraArgs: dict[str, str]) -> None:  # noqa: N803
        assert (bucket, key, ExtraArgs) == ("input", "pole/data/log.csv", {"VersionId": "v1"})
        Path(path).write_bytes(self.content)


def test_in_a_container_it_prepares_the_versions_of_run_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import boto3

    monkeypatch.setattr(boto3, "client", lambda _: FakeBucket(log().write_csv().encode()))
    run = ResolvedRun(
        run_id="pole-1",
        experiment="pole",
        source=Source(bucket="input", key="pole/run.yaml", version_id="v0"),
        specification=RunSpecification.parse(RUN_FILE),
        inputs=[Input(key="pole/data/log.csv", version_id="v1", bytes=5)],
        submitted_at="2026-01-01T00:00:00+00:00",
        versions={},
    )
    (tmp_path / "run.json").write_text(run.model_dump_json())
    assert prepare_data.main(["--run", str(tmp_path)]) == ExitCode.DONE
    dataset = Dataset.model_validate_json((tmp_path / "data" / "dataset.json").read_text())
    assert dataset.files[0].file == "data/log.csv"
    assert all((tmp_path / "data" / file.path).is_file() for file in dataset.train.files)
    ended = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (ended["event"], ended["exit_code"]) == ("ended", 0)
