"""Signals, limits and numbers that are none: how a training ends before its last step."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from contract.events import Event, decode
from contract.layout import CHECKPOINTS, MODEL
from contract.outcomes import ExitCode
from contract.run import LimitsSection
from tests.unit.training_image.helpers import (
    ROOT,
    Recorder,
    checkpoints,
    fingerprint,
    run,
    small_plan,
    write_run,
)
from training_image.trainer.errors import TrainingError
from training_image.trainer.recovery.checkpoints import Checkpoints
from training_image.trainer.recovery.stopping import PRICE_VARIABLE, Limits, Signals
from training_image.trainer.storage import LocalStorage


class SignalAt(Recorder):
    """Sends this process a signal at the first checkpoint."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__()
        self._number = number

    def report(self, event: Event) -> None:
        super().report(event)
        if event["event"] == "checkpoint" and len(self.of("checkpoint")) == 1:
            os.kill(os.getpid(), self._number)


@pytest.fixture
def signals() -> Any:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    installed = Signals()
    installed.install()
    yield installed
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_checkpoints_and_the_resumed_run_equals_the_uninterrupted_one(
    number: signal.Signals, signals: Signals, tmp_path: Path
) -> None:
    plan = small_plan()
    run(plan, tmp_path / "whole")

    stopped = run(plan, tmp_path / "cut", SignalAt(number), signals)

    assert (stopped.exit_code, stopped.reason) == (ExitCode.CHECKPOINTED, f"{number.name} received")
    assert not (tmp_path / "cut" / MODEL).exists()
    resumed = run(plan, tmp_path / "cut")
    assert resumed.exit_code == ExitCode.DONE
    assert fingerprint(tmp_path / "cut") == fingerprint(tmp_path / "whole")
    assert resumed.summary["attempts"] == 2
    assert [each["reason"] for each in resumed.summary["interruptions"]] == [f"{number.name} received"]


def test_sigterm_of_the_container_exits_75_with_a_checkpoint_and_resumes(tmp_path: Path) -> None:
    for name in ("whole", "cut"):
        write_run(tmp_path / name, timesteps=20_000)
    command = [sys.executable, "training_image/train_rl.py", "--seed", "0", "--run"]
    whole = subprocess.Popen([*command, str(tmp_path / "whole")], cwd=ROOT, stdout=subprocess.DEVNULL)
    cut = subprocess.Popen([*command, str(tmp_path / "cut")], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert cut.stdout is not None
    events = []
    for line in cut.stdout:
        if event := decode(line):
            events.append(event)
            if event["event"] == "progress" and len(events) == 2:
                cut.send_signal(signal.SIGTERM)
                asked = time.monotonic()
    assert cut.wait() == ExitCode.CHECKPOINTED
    assert time.monotonic() - asked < 30
    assert events[-1] == {"event": "ended", "exit_code": 75, "reason": "SIGTERM received"}
    assert events[-2]["event"] == "checkpoint"
    assert events[-2]["timesteps"] in checkpoints(tmp_path / "cut" / "seed-0")

    assert subprocess.run([*command, str(tmp_path / "cut")], cwd=ROOT, stdout=subprocess.DEVNULL).returncode == 0
    assert whole.wait() == 0
    assert fingerprint(tmp_path / "cut" / "seed-0") == fingerprint(tmp_path / "whole" / "seed-0")


def test_a_signal_checkpoints_even_where_none_are_taken_by_time(signals: Signals, tmp_path: Path) -> None:
    class AtStart(Recorder):
        def report(self, event: Event) -> None:
            super().report(event)
            if event["event"] == "started":
                os.kill(os.getpid(), signal.SIGTERM)

    stopped = run(small_plan(every_seconds=None), tmp_path, AtStart(), signals)
    assert stopped.exit_code == ExitCode.CHECKPOINTED
    assert checkpoints(tmp_path) == [0]


def test_the_time_limit_checkpoints_and_ends_as_limit(tmp_path: Path) -> None:
    reporter = Recorder()
    result = run(small_plan(limits={"max_hours": 1e-6}), tmp_path, reporter)
    assert result.exit_code == ExitCode.LIMIT
    assert "limits.max_hours" in result.reason
    assert len(reporter.of("checkpoint")) == 1
    assert Checkpoints(LocalStorage(tmp_path / CHECKPOINTS), keep=1).newest(lambda _: None) is not None
    assert not (tmp_path / MODEL).exists()


def test_limits_count_all_attempts() -> None:
    limits = LimitsSection(max_hours=2)
    assert Limits(limits, seconds_before=7100).stop() is None
    stop = Limits(limits, seconds_before=7200).stop()
    assert stop is not None
    assert stop.exit_code == ExitCode.LIMIT


def test_time_of_earlier_attempts_is_carried_over(signals: Signals, tmp_path: Path) -> None:
    stopped = run(small_plan(), tmp_path, SignalAt(signal.SIGTERM), signals)
    first = stopped.summary["wall_seconds"]
    assert first > 0
    resumed = run(small_plan(limits={"max_hours": first / 3600}), tmp_path)
    assert resumed.exit_code == ExitCode.LIMIT
    assert resumed.summary["wall_seconds"] > first


def test_the_cost_limit_uses_the_price_of_the_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = LimitsSection(max_hours=100, max_cost_usd=1.0)
    monkeypatch.setenv(PRICE_VARIABLE, "0.50")
    assert Limits(limits, seconds_before=1.9 * 3600).stop() is None
    stop = Limits(limits, seconds_before=2.1 * 3600).stop()
    assert stop is not None
    assert "limits.max_cost_usd" in stop.reason
    monkeypatch.setenv(PRICE_VARIABLE, "0")
    assert Limits(limits, seconds_before=99 * 3600).stop() is None


def test_weights_that_are_no_numbers_end_training_and_the_last_good_checkpoint_stays(tmp_path: Path) -> None:
    reporter = Recorder()
    with pytest.raises(TrainingError, match=r"nan|inf|finite"):
        run(small_plan(learning_rate=1e38), tmp_path, reporter)
    found = Checkpoints(LocalStorage(tmp_path / CHECKPOINTS), keep=1).newest(lambda _: None)
    assert found is not None
    assert found.timesteps == 0
    assert not (tmp_path / MODEL).exists()


def test_diverging_in_a_container_is_exit_1_with_the_reason(tmp_path: Path) -> None:
    write_run(tmp_path, algorithm={"hyperparameters": {"learning_rate": 1e38, "n_envs": 2, "n_steps": 64}})
    command = [sys.executable, "training_image/train_rl.py", "--run", str(tmp_path), "--seed", "0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.FAILED
    last = decode(done.stdout.splitlines()[-1])
    assert last is not None
    assert last["event"] == "ended"
    assert last["exit_code"] == 1
    assert "after" in last["reason"]
