"""Submitting and checking run files."""

from collections.abc import Callable
from pathlib import Path

import pytest

from contract.layout import run_id_of
from tests.unit.cli.conftest import Said
from tests.unit.cli.fake_aws import INPUT, Execution, FakeAws

GOOD = "environment: {id: CartPole-v1}\ntimesteps: 1000\n"
BAD = "environment: {id: CartPole-v1}\ntimestep: 1000\nseeds: 0\n"


def _write(folder: Path, content: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.yaml").write_text(content)
    return folder


@pytest.mark.parametrize("path", ["cart pole", "cart pole/run.yaml"])
def test_submit_drops_the_file_as_it_is_and_names_its_run(
    aws: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path, path: str
) -> None:
    _write(tmp_path / "cart pole", GOOD)
    said = rlpipe("submit", path)
    assert said.exit_code == 0
    assert aws.objects == {(INPUT, "cart pole/run.yaml"): GOOD.encode()}
    assert said.stdout.strip() == run_id_of(INPUT, "cart pole/run.yaml", "v1")


def test_submit_takes_another_experiment_and_the_current_folder(
    aws: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path
) -> None:
    _write(tmp_path, GOOD)
    assert rlpipe("submit", ".", "--experiment", "team/fast", "--json").document == {
        "run_id": run_id_of(INPUT, "team/fast/run.yaml", "v1"),
        "experiment": "team-fast",
        "bucket": INPUT,
        "key": "team/fast/run.yaml",
        "version_id": "v1",
    }
    rlpipe("submit", ".")
    assert (INPUT, f"{tmp_path.name}/run.yaml") in aws.objects


@pytest.mark.parametrize("experiment", ["", "///", "..", "a/../b", "!!!"])
def test_an_experiment_without_a_name_is_refused(
    aws: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path, experiment: str
) -> None:
    _write(tmp_path, GOOD)
    assert rlpipe("submit", ".", "--experiment", experiment).exit_code == 2
    assert aws.objects == {}


def test_a_wrong_file_is_refused_before_anything_is_started(
    aws: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path
) -> None:
    _write(tmp_path, BAD)
    said = rlpipe("submit", ".")
    assert said.exit_code == 2
    assert "- timestep: no such key" in said.stderr
    assert "- seeds: " in said.stderr
    assert aws.calls == []
    document = rlpipe("submit", ".", "--json").document
    assert (document["valid"], [p["field"] for p in document["problems"]]) == (False, ["seeds", "timestep"])


@pytest.mark.parametrize("command", ["submit", "validate"])
def test_a_path_without_a_run_file_is_refused(
    aws: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path, command: str
) -> None:
    for path in ("nowhere", str(tmp_path)):
        said = rlpipe(command, path)
        assert said.exit_code == 2
        assert "there is no run file" in said.stderr


def test_a_bucket_without_versions_is_not_taken_for_the_input_bucket(
    aws: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path
) -> None:
    aws.versions = False
    _write(tmp_path, GOOD)
    said = rlpipe("submit", ".")
    assert said.exit_code == 2
    assert "keeps no versions" in said.stderr


def test_submit_and_watch_waits_for_the_run_to_start(
    aws: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path / "x", GOOD)
    run_id = run_id_of(INPUT, "x/run.yaml", "v1")

    def starts_and_ends(_seconds: float) -> None:
        aws.executions[run_id] = Execution(run_id, "FAILED", ["Begin", "Prepare"], "LIMIT", "an hour is over")
        aws.put(f"runs/{run_id}/outcome.json", {"reason": "an hour is over"})

    monkeypatch.setattr("cli.watch.wait", starts_and_ends)
    said = rlpipe("submit", "x", "--watch", "--json")
    assert said.exit_code == 75
    assert (said.document["run_id"], said.document["key"], said.document["outcome"]) == (run_id, "x/run.yaml", "LIMIT")
    assert "waiting for the run to start" in said.stderr


def test_a_run_that_never_starts_is_not_waited_for_without_end(
    aws: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path
) -> None:
    _write(tmp_path, GOOD)
    said = rlpipe("submit", ".", "--watch")
    assert said.exit_code == 1
    assert "has not started 120 seconds after the drop" in said.stderr


DATA = GOOD + "data: {kind: transitions, marker: _SUCCESS, files: data/*.csv}\n"


def test_submit_puts_the_data_first_then_the_marker_then_the_run_file(
    aws: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path
) -> None:
    """So the run file's own run has all of them, and no file starts a run besides."""
    folder = _write(tmp_path / "pole", DATA)
    (folder / "data").mkdir()
    for name in ("_SUCCESS", "b.csv", "a.csv", "notes.txt"):
        (folder / "data" / name).write_text(name)
    said = rlpipe("submit", "pole")
    assert said.exit_code == 0
    assert [key for _, key in aws.objects] == [
        "pole/data/a.csv",
        "pole/data/b.csv",
        "pole/data/_SUCCESS",
        "pole/run.yaml",
    ]
    assert "2 of 3: data/b.csv" in said.stderr


@pytest.mark.parametrize(("names", "why"), [([], "no such file beside it"), (["a.csv"], "waits for data/_SUCCESS")])
def test_submit_without_the_data_that_the_run_file_names_drops_nothing(
    aws: FakeAws, rlpipe: Callable[..., Said], tmp_path: Path, names: list[str], why: str
) -> None:
    folder = _write(tmp_path / "pole", DATA)
    (folder / "data").mkdir()
    for name in names:
        (folder / "data" / name).write_text(name)
    said = rlpipe("submit", "pole")
    assert (said.exit_code, why in said.stderr) == (2, True)
    assert aws.objects == {}


def test_validate_needs_no_deployment(rlpipe: Callable[..., Said], tmp_path: Path) -> None:
    _write(tmp_path, GOOD)
    good = rlpipe("validate", str(tmp_path))
    assert (good.exit_code, "is valid: ppo on CartPole-v1, 1,000 steps, 1 seed." in good.stdout) == (0, True)
    assert rlpipe("validate", str(tmp_path), "--json").document["specification"]["timesteps"] == 1000
    _write(tmp_path, BAD)
    assert rlpipe("validate", str(tmp_path)).exit_code == 2
    assert rlpipe("validate", str(tmp_path), "--json").document["valid"] is False
