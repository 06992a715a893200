"""A run whose environment replays a table: trained on one part, judged on the other, beside what others earn there."""

import json
import runpy
from pathlib import Path

import polars as pl
import pytest
import yaml

from contract.dataset import Dataset
from contract.outcomes import ExitCode
from contract.run import EnvironmentSection
from contract.verdict import Verdict
from tests.unit.training_image.helpers import ROOT, SMALL, script, write_run
from training_image import prepare_data, train_rl, validate_rl
from training_image.trainer.envs import tables
from training_image.trainer.policies import model
from training_image.trainer.storage import LocalStorage

EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="module")
def battery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, prepared, trained for a moment and validated."""
    folder = tmp_path_factory.mktemp("run")
    example = yaml.safe_load((EXAMPLES / "battery" / "run.yaml").read_text())
    sections = {name: example[name] for name in ("environment", "data")}
    write_run(folder, algorithm={"hyperparameters": SMALL}, validation={"episodes": 8, "min_return": 1000}, **sections)
    assert prepare_data.main(["--experiment", str(EXAMPLES / "battery"), "--output", str(folder / "data")]) == 0
    assert train_rl.main(["--run", str(folder), "--seed", "0"]) == 0
    assert validate_rl.main(["--run", str(folder)]) == 0
    return folder


def test_it_trains_on_one_part_of_the_table_and_is_judged_on_the_rest_of_its_time(battery: Path) -> None:
    dataset = Dataset.model_validate_json((battery / "data" / "dataset.json").read_text())
    assert (dataset.train.rows, dataset.held_out.rows) == (7008, 1752)
    trained = model.read(LocalStorage(battery / "seed-0" / "model")).document["environment"]["kwargs"]["table"]
    train = tables.read(trained)
    held_out = tables.read(str(battery / "data" / "held_out"))
    assert len(train) == 7008
    assert train["time"].max() < held_out["time"].min()  # type: ignore[operator]


def test_the_verdict_and_the_report_say_what_the_return_is_worth(battery: Path) -> None:
    verdict = Verdict.model_validate_json((battery / "validation" / "verdict.json").read_text())
    beside = verdict.baselines
    assert beside is not None
    assert beside.optimum is not None
    assert list(beside.rules) == ["nothing", "rule"]
    assert beside.rules["nothing"].mean_return == 0
    assert 0 < beside.rules["rule"].mean_return < beside.optimum
    assert beside.rules["rule"].difference == pytest.approx(verdict.mean_return - beside.rules["rule"].mean_return)
    assert beside.share_of_optimum == pytest.approx(verdict.mean_return / beside.optimum)
    assert f"Nobody could earn more than {beside.optimum:.6g}" in verdict.reason
    report = (battery / "validation" / "report.html").read_text()
    assert "What the return is worth" in report
    assert "perfect foresight" in report


def test_by_hand_a_policy_is_judged_on_the_held_out_part_too(tmp_path: Path, battery: Path) -> None:
    output = str(tmp_path / "policy")
    small = [f"--set=algorithm.hyperparameters.{name}={json.dumps(value)}" for name, value in SMALL.items()]
    options = ["--env", "BatteryArbitrage-v0", "--timesteps", "800", "--data", str(battery / "data")]
    assert train_rl.main([*options, "--output", output, *small]) == 0
    validated = script("validate_rl.py", "--model", output, "--episodes", "8", "--json")
    assert validated.returncode == 0, validated.stderr
    summary = json.loads(validated.stdout)
    environment = tables.held_out(
        tables.replaying(EnvironmentSection(id="BatteryArbitrage-v0"), str(battery / "data" / "train"))
    )
    assert environment.kwargs["table"] == str(battery / "data" / "held_out")
    assert summary["baselines"]["optimum"] > summary["baselines"]["rules"]["rule"]["mean_return"] > 0


def test_a_table_that_is_not_there_is_said(tmp_path: Path) -> None:
    options = ["--env", "BatteryArbitrage-v0", "--timesteps", "800", "--data", str(tmp_path)]
    run = script("train_rl.py", *options, "--output", str(tmp_path / "policy"))
    assert run.returncode == ExitCode.USAGE
    assert f"there are no prepared rows at {tmp_path}/train" in run.stderr + run.stdout


@pytest.mark.parametrize(("name", "file"), [("battery", "prices.csv"), ("inventory", "demand.csv")])
def test_the_data_of_an_example_are_what_its_script_makes(tmp_path: Path, name: str, file: str) -> None:
    """Byte for byte, from a copy of the script alone."""
    copy = tmp_path / "make_data.py"
    copy.write_bytes((EXAMPLES / name / "make_data.py").read_bytes())
    runpy.run_path(str(copy), run_name="__main__")
    assert (tmp_path / "data" / file).read_bytes() == (EXAMPLES / name / "data" / file).read_bytes()
    assert len(pl.read_csv(EXAMPLES / name / "data" / file)) >= 1460
