from tests.conformance.__main__ import PAGE, text


def test_the_page_of_the_behaviours_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == text(), "python -m tests.conformance writes it anew"
