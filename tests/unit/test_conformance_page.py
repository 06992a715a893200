from tests.conformance.__main__ import PAGE, text
from tests.conformance.mutations import stale


def test_the_page_of_the_behaviours_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == text(), "python -m tests.conformance writes it anew"


def test_every_mutant_has_its_place_in_the_code() -> None:
    assert stale() == []
