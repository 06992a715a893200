"""The scripts as a person and as a container call them."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from contract.events import decode
from contract.outcomes import ExitCode
from tests.unit.training_image.helpers import ROOT, script, write_run

SMALL = ["--set", "n_envs=2", "--set", "n_steps=200", "--set", "net_arch=[8]"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("by-hand") / "output"
    done = script(
        "train_rl.py", "--env", "CartPole-v1", "--timesteps", "3000", "--output", str(folder), "--json", *SMALL
    )
    assert done.returncode == 0, done.stderr
    (folder / "stdout.json").write_text(done.stdout)
    (folder / "stderr.txt").write_text(done.stderr)
    return folder


def test_json_is_one_document_on_stdout_and_the_rest_is_on_stderr(trained: Path) -> None:
    summary = json.loads((trained / "stdout.json").read_text())
    assert summary["timesteps"] >= 3000
    assert summary["exit_code"] == 0
    assert summary["output"] == str(trained)
    assert summary["mean_return"] > 5
    assert summary["steps_per_second"] > 0
    assert summary["identity"]["hyperparameters"]["n_steps"] == 200
    assert summary["versions"]["stable_baselines3"]
    assert "3,200 of 3,000 steps" in (trained / "stderr.txt").read_text()


def test_the_output_holds_the_policy_in_both_formats_metrics_and_summary(trained: Path) -> None:
    assert {path.name for path in (trained / "model").iterdir()} == {"policy.safetensors", "policy.onnx", "model.json"}
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [line["timesteps"] for line in lines] == list(range(400, 3201, 400))
    assert {"mean_return", "value_loss", "seconds"} <= set(lines[-1])
    assert json.loads((trained / "training.json").read_text())["exit_code"] == 0


def test_validate_by_hand_films_an_episode(trained: Path) -> None:
    done = script("validate_rl.py", "--model", str(trained), "--episodes", "2", "--render", "video", "--json")
    assert done.returncode == 0, done.stderr
    with Image.open(json.loads(done.stdout)["video"]) as picture:
        assert picture.n_frames > 8  # type: ignore[attr-defined]
        assert picture.size == (600, 400)


def test_validate_by_hand_takes_the_output_folder_and_the_model_folder(trained: Path) -> None:
    results = []
    for folder in (trained, trained / "model"):
        done = script("validate_rl.py", "--model", str(folder), "--episodes", "20", "--json")
        assert done.returncode == 0, done.stderr
        results.append(json.loads(done.stdout))
    assert results[0] == results[1]
    assert results[0]["episodes"] == 20
    assert results[0]["onnx_observations"] >= 10_000
    assert results[0]["lower_bound"] <= results[0]["mean_return"]


def test_resume_continues_the_training_in_the_folder(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(trained, folder)
    done = script("train_rl.py", "--resume", "--output", str(folder), "--timesteps", "4000", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["timesteps"] == 4000
    assert "continuing at step 3,200" in done.stderr


def test_a_folder_with_a_training_is_not_overwritten(trained: Path) -> None:
    done = script("train_rl.py", "--env", "CartPole-v1", "--output", str(trained))
    assert done.returncode == ExitCode.USAGE
    assert "--resume" in done.stdout


def test_output_is_said_and_lies_in_runs(tmp_path: Path) -> None:
    options = ["--env", "CartPole-v1", "--timesteps", "100", *SMALL]
    done = script("train_rl.py", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    (folder,) = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("CartPole-v1-ppo-0-")
    assert f"runs/{folder.name}/model" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "CartPol-v1"], "did you mean CartPole-v1"),
        (["--env", "os:system"], "cannot choose code to import"),
        (["--env", "CartPole-v1", "--timesteps", "0"], "timesteps: at least 1"),
        (["--env", "CartPole-v1", "--algo", "pppo"], "one of a2c, bc, dqn"),
        (["--env", "CartPole-v1", "--seed", "-1"], "seeds"),
        (["--env", "CartPole-v1", "--set", "n_steps=0"], "algorithm.hyperparameters.n_steps: at least 1"),
        (["--env", "CartPole-v1", "--set", "n_step=5"], "no such key"),
        (["--env", "CartPole-v1", "--set", "n_steps"], "NAME=VALUE"),
        (["--env", "CartPole-v1", "--set", "environment.frame_stack=0"], "environment.frame_stack: at least 1"),
        (["--env", "CartPole-v1", "--timesteps", "9", "--set", "timesteps.x=1"], "timesteps has no fields"),
        (["--env", "Blackjack-v1"], "Tuple observations"),
        (["--env", "FrozenLake-v1", "--set", "normalize=true"], "normalize: false"),
        (["--env", "CartPole-v1", "--set", "use_sde=true"], "use_sde: false"),
        (["--resume", "--output", "/nowhere/at/all"], "no training in /nowhere/at/all"),
        (["--run", "ftp://host/run", "--seed", "0"], "unknown scheme"),
        (["--run", "/nowhere/at/all", "--seed", "0"], "no run.json at /nowhere/at/all"),
    ],
)
def test_a_wrong_command_is_exit_2_and_says_what_is_allowed(
    arguments: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from training_image.train_rl import main

    if "--run" not in arguments and "--output" not in arguments:
        arguments = [*arguments, "--output", str(tmp_path / "output")]
    assert main(arguments) == ExitCode.USAGE
    assert said in capfd.readouterr().out
    assert not (tmp_path / "output" / "model").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--resume"],
        ["--env", "CartPole-v1", "--timesteps", "many"],
        ["--run", "folder"],
        ["--run", "folder", "--seed", "0", "--env", "CartPole-v1"],
    ],
)
def test_arguments_that_do_not_go_together_are_exit_2(arguments: list[str]) -> None:
    from training_image.train_rl import main

    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == ExitCode.USAGE


def test_a_seed_the_run_does_not_have_is_exit_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from training_image.train_rl import main

    write_run(tmp_path, seeds=[3, 4])
    assert main(["--run", str(tmp_path), "--seed", "0"]) == ExitCode.USAGE
    last = decode(capfd.readouterr().out.splitlines()[-1])
    assert last is not None
    assert last["event"] == "ended"
    assert "has the seeds 3, 4" in last["reason"]


def test_an_unexpected_error_is_exit_1_with_the_traceback_in_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from training_image.train_rl import main
    from training_image.trainer.learning import algorithms

    def breaks(*_: object) -> None:
        raise ZeroDivisionError("by zero")

    write_run(tmp_path)
    monkeypatch.setattr(algorithms, "build", breaks)
    assert main(["--run", str(tmp_path), "--seed", "0"]) == ExitCode.FAILED
    lines = capfd.readouterr().out.splitlines()
    assert decode(lines[-1]) == {"event": "ended", "exit_code": 1, "reason": "ZeroDivisionError: by zero"}
    assert any("Traceback" in line for line in lines)
    assert json.loads((tmp_path / "seed-0" / "training.json").read_text())["reason"] == "by zero"


def test_container_prints_events_and_loads_nothing_it_does_not_need(tmp_path: Path) -> None:
    """Start-up is most of a short training, and each of these costs a good part of a second."""
    write_run(tmp_path, timesteps=800)
    unwanted = ["torch._dynamo", "rich", "matplotlib", "onnx", "onnxruntime", "boto3", "pandas", "tensorboard"]
    program = (
        "import sys, training_image.train_rl as t\n"
        f"code = t.main(['--run', {str(tmp_path)!r}, '--seed', '0'])\n"
        f"print('loaded', [name for name in {unwanted} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    *lines, loaded = done.stdout.splitlines()
    assert loaded == "loaded []"
    events = [decode(line) for line in lines]
    # On a busy machine there may be progress more than once.
    names = dict.fromkeys(event["event"] for event in events if event)
    assert list(names) == ["started", "progress", "checkpoint", "ended"]
