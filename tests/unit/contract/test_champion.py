"""Who serves, who is kept to go back to, and that no change is forgotten."""

import pytest

from contract import champion
from contract.champion import Champion, Policy


def of(*run_ids: str, keep: int = 3) -> Champion:
    """A champion after these runs were promoted, one after the other."""
    current: Champion | None = None
    for run_id in run_ids:
        policy = Policy(run_id=run_id, mean_return=1.0)
        if current is None:
            current = champion.first(policy, endpoint="cartpole", target="sagemaker", at="now", reason="passed")
        else:
            current = current.promoted(policy, at="now", target="sagemaker", keep=keep, reason="passed")
    assert current
    return current


def ids(current: Champion) -> list[str]:
    return [policy.run_id for policy in current.kept]


def test_the_first_has_nobody_to_go_back_to() -> None:
    current = of("a")
    assert (current.run_id, current.before, ids(current)) == ("a", None, ["a"])


def test_as_many_are_kept_as_are_asked_for() -> None:
    current = of("a", "b", "c", "d")
    assert (current.run_id, current.before, ids(current)) == ("d", "c", ["b", "c", "d"])


def test_going_back_goes_one_back_each_time_and_can_be_undone() -> None:
    current = of("a", "b", "c").rolled_back("b", at="later", by="me", reason="odd")
    assert (current.run_id, current.before, current.since, ids(current)) == ("b", "a", "later", ["a", "b", "c"])
    again = current.rolled_back("a", at="later", by="me", reason="odd")
    assert (again.run_id, again.before) == ("a", None)
    undone = again.rolled_back("c", at="later", by="me", reason="it was not that")
    assert (undone.run_id, undone.before) == ("c", "b")
    with pytest.raises(StopIteration):
        current.rolled_back("nobody", at="later", by="me", reason="")


def test_what_was_rolled_back_from_is_not_kept_once_another_is_promoted() -> None:
    current = of("a", "b", "c").rolled_back("b", at="later", by="me", reason="odd")
    promoted = current.promoted(Policy(run_id="d"), at="now", target="ecs", keep=3, reason="passed")
    assert (promoted.before, ids(promoted), promoted.target) == ("b", ["a", "b", "d"], "ecs")


def test_every_change_is_in_the_history() -> None:
    current = of("a", "b").rolled_back("a", at="t1", by="me", reason="odd").switched(on=False, by="schedule", at="t2")
    assert [(change.what, change.run_id, change.by) for change in current.history] == [
        ("promoted", "a", "pipeline"),
        ("promoted", "b", "pipeline"),
        ("rolled back", "a", "me"),
        ("off", "a", "schedule"),
    ]
    assert current.on is False


def test_the_history_has_an_end() -> None:
    current = of("a")
    for _ in range(champion.MAX_CHANGES + 5):
        current = current.switched(on=True, by="me", at="now")
    assert len(current.history) == champion.MAX_CHANGES


def test_a_file_of_before_there_was_a_history_is_read() -> None:
    old = '{"endpoint": "cartpole", "run_id": "a", "since": "then", "verdict": "v", "mean_return": 1.0, "before": ""}'
    current = Champion.model_validate_json(old).promoted(
        Policy(run_id="b"), at="now", target="sagemaker", keep=3, reason="passed"
    )
    assert (current.before, ids(current)) == ("a", ["a", "b"])
