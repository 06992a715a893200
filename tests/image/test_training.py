"""Training and validation in containers: no network, nothing to write on but the run's folder."""

import json
import tarfile
from pathlib import Path
from typing import Any

from contract.events import decode
from contract.layout import GOLDEN, MODEL_ARCHIVE, REPORT, VERDICT
from contract.outcomes import ExitCode
from tests.image.building import Image
from tests.image.conftest import Start, figure
from tests.image.docker import NO_NETWORK, mounted, run
from tests.image.runs import RUN_FOLDER, TRAIN, prepare
from tests.unit.training_image.helpers import fingerprint


def test_validation_leaves_the_verdict_and_what_sagemaker_serves(finished_run: Path) -> None:
    assert json.loads((finished_run / VERDICT).read_text())["passed"] is True
    assert (finished_run / REPORT).stat().st_size > 0
    assert json.loads((finished_run / GOLDEN).read_text())["observations"]
    with tarfile.open(finished_run / MODEL_ARCHIVE) as archive:
        assert sorted(archive.getnames()) == ["golden.json", "policy.json", "policy.onnx"]


def test_stopped_and_resumed_ends_in_the_weights_of_an_uninterrupted_training(
    training: Image, start: Start, finished_run: Path, tmp_path: Path
) -> None:
    folder = prepare(tmp_path / "run")
    options = (NO_NETWORK, *mounted(folder, RUN_FOLDER, writable=True))
    container = start(training, *TRAIN, options=options)
    for line in container.follow():
        if (event := decode(line)) and event["event"] == "checkpoint":
            break
    exit_code, seconds = container.stop()
    figure(f"training: checkpointed and ended {seconds:.1f} s after SIGTERM")
    assert exit_code == ExitCode.CHECKPOINTED
    assert seconds < 30
    assert _events(container.log())[-1] == {"event": "ended", "exit_code": 75, "reason": "SIGTERM received"}
    assert not (folder / "seed-0" / "model").exists()

    resumed = run(training.identifier, *TRAIN, options=options)

    assert resumed.returncode == ExitCode.DONE, resumed.stdout + resumed.stderr
    started = _events(resumed.stdout)[0]
    assert started["event"] == "started"
    assert 0 < started["timesteps"] < started["total_timesteps"]
    assert fingerprint(folder / "seed-0") == fingerprint(finished_run / "seed-0")


def _events(log: str) -> list[dict[str, Any]]:
    return [dict(event) for event in map(decode, log.splitlines()) if event]


def test_a_run_that_is_not_there_is_a_wrong_command(training: Image, tmp_path: Path) -> None:
    done = run(training.identifier, *TRAIN, options=(NO_NETWORK, *mounted(tmp_path, RUN_FOLDER)))
    assert done.returncode == ExitCode.USAGE, done.stdout + done.stderr
