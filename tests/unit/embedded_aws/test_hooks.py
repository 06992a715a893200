"""What is built on ministack's private names is checked before anything starts."""

import pytest

from embedded_aws import hooks


def test_all_private_names_are_there() -> None:
    hooks.verify()


def test_a_missing_name_is_reported_with_the_version_it_was_written_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(hooks.PRIVATE_NAMES, "services.batch", ("_RENAMED",))

    with pytest.raises(hooks.HookError) as failure:
        hooks.verify()

    assert "ministack.services.batch._RENAMED is missing" in str(failure.value)
    assert "written for ministack 1.5.33" in str(failure.value)


@pytest.mark.parametrize("name", ["Worker._drain", "Worker.gone.deeper"])
def test_methods_are_looked_up_too(name: str) -> None:
    with pytest.raises(hooks.HookError, match=name):
        hooks.private("core.lambda_runtime", name)


def test_nothing_is_added_under_a_name_that_is_gone() -> None:
    with pytest.raises(hooks.HookError, match=r"services\.batch\._GONE"):
        hooks.replace("services.batch", "_GONE", {})
