"""The run that the containers train."""

from pathlib import Path

from tests.unit.training_image.helpers import write_run

RUN_FOLDER = "/mnt/run"
"""Where the containers see the run's folder."""

TRAIN = ("training_image/train_rl.py", "--run", RUN_FOLDER, "--seed", "0")
VALIDATE = ("training_image/validate_rl.py", "--run", RUN_FOLDER)


def prepare(folder: Path) -> Path:
    """Write the run's `run.json`: seconds of training, a checkpoint in each."""
    write_run(folder, timesteps=120_000, checkpoint={"every_seconds": 1}, validation={"min_return": 50})
    return folder
