"""Good and bad requests in any order, many at once, beside callers that are slow or leave."""

from pathlib import Path

from benchmarks import fuzz


def test_every_answer_is_the_one_that_the_request_deserves(tmp_path: Path) -> None:
    """A million of them are `python -m benchmarks fuzz`."""
    found = fuzz.run(tmp_path, 3000, seed=1)
    assert not found.wrong
    assert found.sent.total() == found.statuses.total() == 3000
    assert {200, 400, 404, 405, 406, 413, 415, 431} <= set(found.statuses)
    assert max(found.statuses) < 500
    assert (found.connections_left, found.exit_code) == (0, 0)
