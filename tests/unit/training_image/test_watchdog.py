"""A training that hangs is ended, and says so."""

import subprocess
import sys
import threading
import time
from pathlib import Path

from contract.events import decode
from tests.unit.training_image.helpers import ROOT, write_run
from training_image.trainer.monitoring.watchdog import Watchdog


def test_silence_is_told_once() -> None:
    told: list[str] = []
    heard = threading.Event()

    def bark(reason: str) -> None:
        told.append(reason)
        heard.set()

    with Watchdog(0.05, bark):
        assert heard.wait(10)
    assert len(told) == 1
    assert "no progress" in told[0]


def test_steps_keep_it_quiet() -> None:
    told: list[str] = []
    with Watchdog(2.0, told.append) as watchdog:
        for _ in range(30):
            watchdog._on_step()
            time.sleep(0.1)
    assert told == []


HANGS = """
import sys, threading
sys.argv[0] = "training_image/train_rl.py"
sys.path.insert(0, ".")
import gymnasium.envs.classic_control.mountain_car as car
car.MountainCarEnv.step = lambda self, action: threading.Event().wait()
from training_image.train_rl import main
main(sys.argv[1:])
"""


def test_a_training_that_hangs_fails_with_the_reason_and_where_it_was(tmp_path: Path) -> None:
    write_run(tmp_path, environment={"id": "MountainCar-v0"}, limits={"stuck_minutes": 0.02})
    done = subprocess.run(
        [sys.executable, "-c", HANGS, "--run", str(tmp_path), "--seed", "0"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    last = decode(done.stdout.splitlines()[-1])
    assert last is not None
    assert last["event"] == "ended"
    assert "no progress: not one step in" in last["reason"]
    assert "wait" in done.stderr  # the stack of the thread that hangs
