"""The right to change an endpoint, against a real evaluation of the table's conditions."""

import time
from typing import Any

import pytest

from lambdas.endpoints import lease
from tests.unit.lambdas.tables import InProcess, run_table_of

RUN, OTHER = "cartpole-111111111111", "cartpole-222222222222"


@pytest.fixture(autouse=True)
def table(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> InProcess:
    return run_table_of(lease, request, monkeypatch)


def test_one_holds_it_and_finds_its_notes_again() -> None:
    held = lease.take("cartpole", RUN)
    assert held
    held.save(before="")
    again = lease.take("cartpole", RUN)
    assert again
    assert again.notes == {"before": ""}
    assert lease.take("cartpole", OTHER) is None
    held.release()
    assert lease.take("cartpole", OTHER)


def test_who_is_silent_for_too_long_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    held = lease.take("cartpole", RUN)
    assert held
    began = time.time()
    monkeypatch.setattr(time, "time", lambda: began + lease.SECONDS + 1)
    assert lease.take("cartpole", OTHER)
    with pytest.raises(RuntimeError, match=f"{RUN} has lost the right to change cartpole"):
        held.save(deploying=True)
    held.release()
    found = lease.holding("cartpole")
    assert found
    assert found.holder == OTHER


def test_what_is_handed_over_comes_with_its_notes_and_its_old_holder_writes_no_more() -> None:
    held = lease.take("cartpole", RUN)
    assert held
    held.save(before="cartpole-000000000000")
    handed = lease.hand_over("cartpole", holder=RUN, to="abandoned")
    assert handed
    assert (handed.holder, handed.notes) == ("abandoned", {"before": "cartpole-000000000000"})
    with pytest.raises(RuntimeError, match="lost the right"):
        held.save(deploying=True)
    held.release()
    assert lease.take("cartpole", RUN) is None
    assert lease.hand_over("cartpole", holder=RUN, to="another") is None
    handed.save(restoring=True)
    found = lease.holding("cartpole")
    assert found
    assert found.notes == {"before": "cartpole-000000000000", "restoring": True}


def test_a_step_that_read_the_lease_before_it_was_handed_over_cannot_renew_it(
    table: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run was aborted between the two calls in which one of its steps takes the lease again."""
    assert lease.take("cartpole", RUN)
    read = lease._read

    def read_then_aborted(endpoint: str) -> dict[str, Any] | None:
        found = read(endpoint)
        assert lease.hand_over(endpoint, holder=RUN, to="abandoned")
        return found

    monkeypatch.setattr(lease, "_read", read_then_aborted)
    assert lease.take("cartpole", RUN) is None
    found = read("cartpole")
    assert found
    assert found["holder"] == "abandoned"
