"""What CloudWatch is told of a training, and what it costs to tell."""

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract import metrics as names
from contract.run import LimitsSection
from tests.unit.training_image.helpers import Recorder, run, small_plan
from training_image.trainer.errors import NotFiniteError
from training_image.trainer.monitoring import gpu, supervisor
from training_image.trainer.monitoring.health import Health
from training_image.trainer.monitoring.telemetry import Telemetry
from training_image.trainer.recovery.stopping import PRICE_VARIABLE, Limits


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in ("monitoring.telemetry", "recovery.stopping"):
        monkeypatch.setattr(f"training_image.trainer.{module}.time", clock)
    monkeypatch.setenv(names.STAGE_VARIABLE, "dev")
    return clock


def telemetry(lines: list[dict[str, Any]], **limits: Any) -> Telemetry:
    plan = small_plan(limits=limits, every_seconds=60)
    return Telemetry(
        plan,
        lambda event: lines.append(json.loads(json.dumps(event, allow_nan=False))),
        Limits(LimitsSection.model_validate(limits), seconds_before=0),
        lines=[],
        evaluation=lambda: None,
    )


def line(mean: float = 20.0, **more: float) -> dict[str, Any]:
    return {"timesteps": 2400, "seconds": 1.0, "mean_return": mean, "median_return": mean, "mean_length": 9.0, **more}


def test_a_training_tells_how_it_learns_what_it_costs_and_how_old_its_checkpoint_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.STAGE_VARIABLE, "dev")
    monkeypatch.setenv(PRICE_VARIABLE, "3600")
    reporter = Recorder()
    run(small_plan(), tmp_path, reporter)
    [told] = reporter.of("metrics")  # it was over before the first minute was
    [directive] = told["_aws"]["CloudWatchMetrics"]
    named = {metric["Name"] for metric in directive["Metrics"]}
    always = {
        metric.name for metric in names.METRICS if metric.dimensions == names.OF_A_RUN and metric.when == "always"
    }
    assert named - {"CheckpointOverdue"} == always | {"Loss", "Entropy", "ApproxKl", "ExplainedVariance"}
    assert (told["Stage"], told["Experiment"], told["Run"], told["seed"]) == ("dev", "run", "run", 0)
    assert len(told["EpisodeReturn"]) == 100
    assert sum(told["EpisodeReturn"]) / 100 == pytest.approx(told["measured"]["mean_return"])
    assert told["Progress"] == 100
    assert told["CostUsd"] == pytest.approx(told["TrainingSeconds"], rel=0.1)
    assert told["StepsPerSecond"] > 0
    assert 0 <= told["CheckpointAge"] < told["TrainingSeconds"]
    assert "clip_fraction" in told["measured"]  # there to be queried, and no metric


def test_by_hand_nothing_of_it_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(names.STAGE_VARIABLE, raising=False)
    reporter = Recorder()
    run(small_plan(timesteps=800), tmp_path, reporter)
    assert reporter.of("metrics") == []


def test_a_line_is_due_once_a_minute(clock: Clock) -> None:
    lines: list[dict[str, Any]] = []
    told = telemetry(lines)
    told.begin(0)
    assert not told.is_due
    clock.now += 60
    assert told.is_due
    told.tell(line(), [20.0])
    assert not told.is_due
    assert lines[0]["StepsPerSecond"] == 2400 / 60


def test_the_interval_is_the_settings(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(names.SECONDS_VARIABLE, "5")
    told = telemetry([])
    clock.now += 5
    assert told.is_due


def test_a_checkpoint_is_overdue_once_it_is_older_than_the_run_file_allows(clock: Clock) -> None:
    lines: list[dict[str, Any]] = []
    told = telemetry(lines)
    told.begin(0)
    clock.now += 60
    told.tell(line(), [20.0])
    clock.now += 30
    told.tell(line(), [20.0])
    told.stored()
    told.tell(line(), [20.0])
    assert [it.get("CheckpointOverdue") for it in lines] == [None, 30, None]
    assert [it["CheckpointAge"] for it in lines] == [60, 90, 0]


def test_a_cost_limit_shows_how_much_of_it_is_used(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PRICE_VARIABLE, "2")
    lines: list[dict[str, Any]] = []
    told = telemetry(lines, max_cost_usd=4)
    clock.now += 3600
    told.tell(line(), [20.0])
    assert (lines[0]["CostUsd"], lines[0]["BudgetUsed"]) == (2, 50)


def test_silence_is_told_from_the_first_minute_on_and_once_a_minute(clock: Clock) -> None:
    lines: list[dict[str, Any]] = []
    told = telemetry(lines)
    for seconds in range(0, 200, 5):
        clock.now += 5
        told.silence(float(seconds), timesteps=7)
    assert [it["SecondsWithoutStep"] for it in lines] == [60, 120, 180]
    assert lines[0]["reason"] == "no step for 60 seconds"


def test_a_loss_that_is_no_number_is_told_before_the_training_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(names.STAGE_VARIABLE, "dev")
    reporter = Recorder()
    with pytest.raises(NotFiniteError):
        run(small_plan(learning_rate=1e30, max_grad_norm=1e30, fast=False), tmp_path, reporter)
    told = reporter.of("metrics")[-1]
    assert told["LossNotFinite"] == 1
    assert "nan" in told["reason"].lower() or "finite" in told["reason"]


def test_everything_that_ends_a_training_for_its_numbers_is_such_an_error() -> None:
    model = SimpleNamespace(
        logger=SimpleNamespace(name_to_value={"train/value_loss": math.inf}),
        policy=SimpleNamespace(state_dict=dict),
        num_timesteps=5,
    )
    with pytest.raises(NotFiniteError, match="value_loss is inf after 5 steps"):
        supervisor.check_finite(model)  # type: ignore[arg-type]


# --- is it well? ------------------------------------------------------------------------------------------------------


def drops(means: list[float], deviation: float) -> list[float]:
    health = Health(small_plan(), [])
    return [health.look({"timesteps": n, "mean_return": it}, deviation=deviation)[names.RETURN_DROP] for n, it in
            enumerate(means)]  # fmt: skip


def test_a_return_that_falls_from_its_best_loses_a_share_of_what_was_learnt() -> None:
    assert drops([20, 500, 260, 20, 500], deviation=10) == [0, 0, 0.5, 1, 0]


def test_returns_below_zero_fall_alike() -> None:
    assert drops([-1200, -200, -700], deviation=100) == [0, 0, 0.5]


def test_a_fall_means_nothing_while_less_was_learnt_than_episodes_differ() -> None:
    assert drops([20, 25, 18, 22], deviation=10) == [0, 0, 0, 0]


def test_the_best_of_earlier_attempts_is_remembered() -> None:
    health = Health(small_plan(), [{"timesteps": 1, "mean_return": 20}, {"timesteps": 2, "mean_return": 500}])
    assert health.look({"timesteps": 3, "mean_return": 260}, deviation=10)[names.RETURN_DROP] == 0.5


def test_what_happens_between_two_lines_is_remembered_too(clock: Clock) -> None:
    lines: list[dict[str, Any]] = []
    told = telemetry(lines)
    told.note(line(mean=20.0, entropy=0.69, timesteps=400))
    clock.now += 60
    told.tell(line(mean=1.0, entropy=0.0, timesteps=800), [1.0])
    assert (lines[0]["EntropyCollapse"], lines[0]["ReturnDrop"]) == (1, 1)


@pytest.mark.parametrize(
    ("line", "collapsed"),
    [
        ({"entropy": 0.02, "mean_return": 9.0}, True),
        ({"entropy": 0.2, "mean_return": 9.0}, False),
        ({"entropy": 0.02, "mean_return": 195.0}, False),  # it has solved its task
        ({"entropy": -9.0, "std": 0.9, "mean_return": 9.0}, False),  # continuous: the entropy has no zero
        ({"entropy": -9.0, "std": 0.01, "mean_return": 9.0}, True),
        ({"mean_return": 9.0}, False),
    ],
)
def test_a_policy_that_hardly_explores_has_collapsed_unless_it_is_good(line: dict[str, float], collapsed: bool) -> None:
    first = {"timesteps": 400, **({"std": 1.0} if "std" in line else {"entropy": 0.69} if "entropy" in line else {})}
    plan = small_plan()
    wanted = plan.specification.validation.model_copy(update={"min_return": 195.0})
    specification = plan.specification.model_copy(update={"validation": wanted})
    health = Health(plan.__class__(**{**plan.__dict__, "specification": specification}), [first])
    found = health.look({"timesteps": 4000, **line}, deviation=1)
    assert (names.ENTROPY_COLLAPSE in found) == collapsed


# --- GPUs -------------------------------------------------------------------------------------------------------------


class Nvml(SimpleNamespace):
    """Two GPUs."""

    class NVMLError(Exception):
        pass

    def nvmlInit(self) -> None:  # noqa: N802
        if self.broken:
            raise self.NVMLError

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(gpu=(90, 70)[handle])

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802
        return SimpleNamespace(used=(4, 12)[handle], total=16)


def test_the_use_of_gpus_is_told_where_nvml_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", Nvml(broken=False))
    found = gpu.find_gpus()
    assert found is not None
    assert found.look() == {names.GPU_UTILIZATION: 80, names.GPU_MEMORY: 50}


def test_without_a_driver_or_nvml_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pynvml", Nvml(broken=True))
    assert gpu.find_gpus() is None
    monkeypatch.setitem(__import__("sys").modules, "pynvml", None)
    assert gpu.find_gpus() is None
