"""Who may talk to the page."""

import pytest

from tests.unit.cli.fake_aws import FakeAws, record
from tests.unit.cli.ui.conftest import OWN, TOKEN, Browser


@pytest.mark.parametrize("target", ["/", "/?token=wrong", "/?token=", "/static/page.js", "/runs/x/report"])
def test_nothing_is_shown_without_the_token(stranger: Browser, target: str) -> None:
    answer = stranger.get(target)
    assert answer.status == 403
    assert "rlpipe ui" in answer.text


def test_the_printed_address_becomes_a_cookie_and_leaves_the_address_bar(stranger: Browser) -> None:
    answer = stranger.get(f"/?token={TOKEN}&next=abc")
    assert (answer.status, answer.headers["location"]) == (303, "/?next=abc")
    said = answer.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert stranger.get("/").status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "127.0.0.1", "localhost:4999.evil.example", ""])
def test_a_name_that_somebody_points_here_is_not_this_server(browser: Browser, host: str) -> None:
    assert browser.get("/", host=host).status == 421


@pytest.mark.parametrize(
    "origin", ["", "null", "http://evil.example", "https://127.0.0.1:4999", "http://127.0.0.1:5000", OWN + ".evil"]
)
def test_another_page_changes_nothing(aws: FakeAws, browser: Browser, origin: str) -> None:
    aws.records = {"one": record("one", possible=["stop"])}
    assert browser.post("/runs/one/stop", origin=origin).status == 403
    assert aws.given == []


def test_the_token_in_an_address_changes_nothing(aws: FakeAws, stranger: Browser) -> None:
    aws.records = {"one": record("one", possible=["stop"])}
    assert stranger.post(f"/runs/one/stop?token={TOKEN}").status == 403
    assert aws.given == []


@pytest.mark.parametrize("target", ["/", "/start", "/nowhere", "/static/page.css"])
def test_every_answer_says_that_nothing_foreign_may_be_loaded_or_frame_it(browser: Browser, target: str) -> None:
    policy = browser.get(target).headers["content-security-policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script-src" not in policy  # so default-src holds: no inline script, no eval
