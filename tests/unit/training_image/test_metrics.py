"""metrics.jsonl and progress, and how they look to a person."""

import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from contract.events import Ended, Progress, Started
from tests.unit.training_image.helpers import Killed, KilledAt, Recorder, run, small_plan
from training_image.trainer.command import by_hand
from training_image.trainer.monitoring.bar import BarReporter
from training_image.trainer.monitoring.metrics import MAX_LINES, PROGRESS_SECONDS, Metrics, MetricsLog
from training_image.trainer.monitoring.reporting import LineReporter


def progress(timesteps: int, **more: Any) -> Progress:
    return Progress(
        event="progress",
        seed=0,
        timesteps=timesteps,
        total_timesteps=1000,
        steps_per_second=1234.5,
        seconds_left=3.0,
        **more,
    )


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_resumed_run_leaves_one_line_for_every_update(tmp_path: Path) -> None:
    plan = small_plan()
    with pytest.raises(Killed):
        run(plan, tmp_path, KilledAt(3200))
    run(plan, tmp_path)
    steps = [line["timesteps"] for line in lines_of(tmp_path)]
    assert steps == list(range(400, 4801, 400))
    seconds = [line["seconds"] for line in lines_of(tmp_path)]
    assert seconds == sorted(seconds)


def test_metrics_of_a_resumed_run_equal_those_of_an_uninterrupted_one(tmp_path: Path) -> None:
    plan = small_plan()
    run(plan, tmp_path / "whole")
    with pytest.raises(Killed):
        run(plan, tmp_path / "cut", KilledAt(3200))
    run(plan, tmp_path / "cut")
    whole, cut = ([line | {"seconds": 0} for line in lines_of(tmp_path / name)] for name in ("whole", "cut"))
    assert cut == whole


def test_a_line_tells_how_returns_are_spread_and_what_the_update_measured(tmp_path: Path) -> None:
    run(small_plan(), tmp_path)
    for line in lines_of(tmp_path):
        assert line["min_return"] < line["median_return"] < line["max_return"]
        assert line["min_return"] < line["mean_return"] < line["max_return"]
        assert line["entropy"] == -line["entropy_loss"] > 0
        measured = {"approx_kl", "explained_variance", "learning_rate", "policy_gradient_loss", "value_loss"}
        assert measured <= set(line)


def test_a_line_of_dqn_tells_how_much_it_still_explores(tmp_path: Path) -> None:
    run(small_plan(algorithm="dqn", timesteps=2000, learning_starts=100, exploration_fraction=1.0), tmp_path)
    rates = [line["exploration_rate"] for line in lines_of(tmp_path)]
    assert rates == sorted(rates, reverse=True)
    assert rates[0] > rates[-1]


@pytest.mark.parametrize(("returns", "median"), [([3.0, 1.0, 2.0], 2.0), ([4.0, 1.0, 2.0, 3.0], 2.5), ([7.0], 7.0)])
def test_the_median_is_the_middle_or_between_the_two_middle_ones(returns: list[float], median: float) -> None:
    class Model:
        ep_info_buffer = [{"r": value, "l": 10} for value in returns]  # noqa: RUF012

    metrics = Metrics(
        MetricsLog(steps_per_line=1),
        seed=0,
        total=1,
        seconds=lambda: 0.0,
        progress=lambda _: None,
        telemetry=None,  # type: ignore[arg-type]
    )
    metrics.model = Model()  # type: ignore[assignment]
    assert metrics.episodes()["median_return"] == median


def test_a_long_run_has_a_short_evenly_spaced_file() -> None:
    log = MetricsLog(steps_per_line=10)
    for update in range(1, 10 * MAX_LINES + 1):
        log.add({"timesteps": 10 * update})
    steps = [json.loads(line)["timesteps"] for line in log.encode().splitlines()]
    assert MAX_LINES / 2 <= len(steps) <= MAX_LINES
    assert {later - earlier for earlier, later in pairwise(steps)} == {160}


def test_a_continued_file_keeps_its_spacing() -> None:
    whole, cut = MetricsLog(steps_per_line=1), MetricsLog(steps_per_line=1)
    for update in range(1, 3 * MAX_LINES):
        whole.add({"timesteps": update})
        if update <= 2 * MAX_LINES + 100:
            cut.add({"timesteps": update})
    resumed = MetricsLog(steps_per_line=1, document=cut.encode(), up_to=2 * MAX_LINES + 1)
    for update in range(2 * MAX_LINES + 2, 3 * MAX_LINES):
        resumed.add({"timesteps": update})
    assert resumed.encode() == whole.encode()


class Ticking:
    """A clock that goes on by some milliseconds each time it is asked, however fast the machine."""

    now = 0.0

    def monotonic(self) -> float:
        self.now += 0.004
        return self.now


def test_progress_comes_at_most_twice_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    clock = Ticking()
    for module in ("monitoring.metrics", "callbacks"):
        monkeypatch.setattr(f"training_image.trainer.{module}.time", clock)

    class Timed(Recorder):
        def report(self, event: Any) -> None:
            super().report(event)
            if event["event"] == "progress":
                times.append(clock.now)

    reporter = Timed()
    run(small_plan(timesteps=12_000), tmp_path, reporter)
    assert len(times) >= 2
    gaps = [later - earlier for earlier, later in pairwise(times)]
    assert all(gap >= PROGRESS_SECONDS * 0.99 for gap in gaps[:-1])  # the last says that it is over
    last = reporter.of("progress")[-1]
    assert last["timesteps"] == 12_000
    assert last["seconds_left"] == 0
    assert {"mean_return", "mean_length", "losses"} <= set(last)


def test_piped_output_is_plain_lines() -> None:
    stream = io.StringIO()
    reporter = by_hand(stream)
    assert isinstance(reporter, LineReporter)
    reporter.report(Started(event="started", seed=0, timesteps=0, total_timesteps=1000))
    reporter.report(progress(500, mean_return=21.25))
    reporter.report(progress(600, mean_return=25.0))  # too soon
    reporter.report(progress(1000, mean_return=30.0))
    reporter.report(Ended(event="ended", exit_code=0, reason="trained"))
    assert stream.getvalue().splitlines() == [
        "seed 0: training for 1,000 steps",
        " 50%  500 of 1,000 steps  1,234 steps/s  mean return 21.2  3 s left",
        "100%  1,000 of 1,000 steps  1,234 steps/s  mean return 30.0  3 s left",
        "trained",
    ]


def test_a_terminal_gets_a_bar_with_speed_return_and_time_left() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    reporter = by_hand(stream)
    assert isinstance(reporter, BarReporter)
    reporter._progress.console.width = 160
    reporter.report(Started(event="started", seed=0, timesteps=0, total_timesteps=1000))
    reporter.report(progress(500, mean_return=21.25))
    reporter.log("a warning")
    reporter.close()
    shown = stream.getvalue()
    assert "a warning" in shown
    for part in ("500/1,000", "1,234 steps/s", "mean return 21.2", "0:00:03 left", "━"):
        assert part in shown
