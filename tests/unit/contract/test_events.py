"""What a container prints can be read back; what it merely says is left alone."""

import pytest

from contract.events import Progress, decode, encode


def test_an_event_survives_the_log() -> None:
    event = Progress(event="progress", seed=1, timesteps=5, total_timesteps=10, steps_per_second=2.5, seconds_left=2.0)
    assert decode(encode(event)) == event
    assert "\n" not in encode(event)


@pytest.mark.parametrize("line", ["", "hello", "{}", '{"event":', '{"a": {"event":"progress"}}', '["event"]'])
def test_a_line_that_is_no_event_is_text(line: str) -> None:
    assert decode(line) is None
