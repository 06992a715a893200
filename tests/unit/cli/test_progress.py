"""What the containers' events add up to, and how it is said."""

from cli.jobs import LogLine
from cli.narrate import log_text
from cli.progress import RunProgress, sparkline
from contract.events import Progress, encode


def _progress(seed: int, timesteps: int, mean_return: float) -> Progress:
    return Progress(
        event="progress",
        seed=seed,
        timesteps=timesteps,
        total_timesteps=1000,
        steps_per_second=250.0,
        seconds_left=2.0,
        mean_return=mean_return,
    )


def _lines(*messages: str) -> list[LogLine]:
    return [LogLine(job="seed-0", timestamp=n, message=message) for n, message in enumerate(messages)]


def test_events_of_several_seeds_are_kept_apart() -> None:
    progress = RunProgress()
    progress.read(_lines(encode(_progress(0, 100, 10.0)), "plain text", encode(_progress(7, 300, 20.0))))
    progress.read(_lines(encode(_progress(0, 500, 30.0))))
    assert progress.seeds[0].returns == [10.0, 30.0]
    assert (progress.seeds[0].fraction, progress.seeds[7].fraction) == (0.5, 0.3)


def test_a_resumed_attempt_begins_where_its_checkpoint_is() -> None:
    progress = RunProgress()
    progress.read(_lines(encode(_progress(0, 900, 10.0))))
    started = encode({"event": "started", "seed": 0, "timesteps": 600, "total_timesteps": 1000})
    progress.read(_lines(encode({"event": "checkpoint", "seed": 0, "timesteps": 600}), started))
    seed = progress.seeds[0]
    assert (seed.timesteps, seed.resumed_at, seed.checkpoint, seed.returns) == (600, 600, 600, [])


def test_what_a_resumed_attempt_repeats_is_drawn_once() -> None:
    """A chart needs steps that rise: between two points at the same step there is no line."""
    progress = RunProgress()
    progress.read(_lines(*(encode(_progress(0, step, step / 10)) for step in (300, 600, 900))))
    progress.read(_lines(encode({"event": "started", "seed": 0, "timesteps": 600, "total_timesteps": 1000})))
    progress.read(_lines(encode(_progress(0, 600, 61.0)), encode(_progress(0, 800, 80.0))))
    assert progress.seeds[0].points == [(300, 30.0), (600, 61.0), (800, 80.0)]


def test_sparkline_rises_with_the_values_and_fits() -> None:
    assert sparkline([]) == ""
    assert sparkline([5.0, 5.0]) == "▁▁"
    assert sparkline([0.0, 1.0, 2.0, 7.0]) == "▁▂▃█"
    long = sparkline([float(n) for n in range(1000)], width=8)
    assert long == "▁▂▃▄▅▆▇█"


def test_log_lines_are_words() -> None:
    assert log_text("hello") == "hello"
    assert log_text(encode(_progress(0, 500, 12.34))) == (
        "500 of 1,000 steps, 250 steps/s, 2.0 s left, mean return 12.3"
    )
    ended = encode({"event": "ended", "exit_code": 75, "reason": "SIGTERM"})
    assert log_text(ended) == "ends with exit code 75: SIGTERM"
