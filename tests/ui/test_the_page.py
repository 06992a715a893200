"""A run from its file to its policy at play, all of it in the page."""

import re
import statistics
import time

import pytest
from playwright.sync_api import expect

from contract.record import new_record
from lambdas.items import to_item
from tests.pipeline.laptop import Laptop, until
from tests.ui.conftest import Eyes, figure

RUN_FILE = """
environment: {id: CartPole-v1}
timesteps: 200000
seeds: 2
evaluation: {every_steps: 30000, episodes: 10}
checkpoint: {every_seconds: 1}
validation: {episodes: 50, min_return: 100}
"""
RUNS, PAGE_SIZE = 1000, 25


@pytest.fixture(scope="module")
def trained(eyes: Eyes, laptop: Laptop) -> str:
    """The path of a run that was started, paused and resumed in the page, and has succeeded."""
    page = eyes.page
    eyes.open("/start")
    eyes.look("start")
    page.get_by_label("Experiment").fill("story")
    page.get_by_label("Run file").fill("environment: {id: CartPole-v9}")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_role("alert")).to_contain_text("CartPole-v1")
    eyes.look("start-refused")
    page.get_by_label("Run file").fill(RUN_FILE)
    page.get_by_role("button", name="Start").click()
    page.wait_for_url("**/runs/story-*")
    path = page.url.removeprefix(eyes.base)

    until(lambda: eyes.points() >= 2 or page.wait_for_timeout(100), seconds=60, what="the curve begins")
    before = eyes.points()
    expect(page.locator(".stages li[aria-current=step]")).to_contain_text("Train")
    until(lambda: eyes.points() > before or page.wait_for_timeout(100), seconds=60, what="the curve grows")

    page.get_by_label("Why").fill("lunch")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status").first).to_contain_text("paused")
    expect(page.get_by_role("button", name="Pause")).to_have_count(0)
    expect(page.locator("table").last).to_contain_text("lunch")
    assert laptop.state_of(path.removeprefix("/runs/")) == "PAUSED"
    eyes.look("paused")

    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status").first).to_contain_text("succeeded", timeout=240_000)
    return path


def test_the_verdict_is_shown_and_nobody_asks_any_more(eyes: Eyes, trained: str) -> None:
    page = eyes.page
    eyes.open(trained)
    expect(page.locator(".verdict")).to_contain_text("The policy passed")
    expect(page.locator("#now")).not_to_have_attribute("hx-trigger", "every 1.0s")
    expect(page.locator(".stages li.done")).not_to_have_count(0)
    expect(page.locator(".stages li:not(.done)")).to_have_count(0)
    assert eyes.points() > 20
    eyes.look("succeeded")


def test_the_report_opens_by_itself(eyes: Eyes, trained: str) -> None:
    with eyes.page.context.expect_page() as opening:
        eyes.open(trained)
        eyes.page.get_by_role("link", name="Open the report").click()
    tab = opening.value
    expect(tab.get_by_role("heading", name="Learning", exact=True)).to_be_visible()
    expect(tab.locator("canvas").first).to_be_visible()
    report = Eyes(tab, eyes.base)
    report.look("report")
    tab.close()


def test_the_policy_is_asked_and_watched_at_play(eyes: Eyes, trained: str) -> None:
    page = eyes.page
    eyes.open(trained)
    page.get_by_role("link", name="Try the policy").click()
    page.get_by_label("2", exact=True).fill("0.1")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("#answer output")).to_have_text("1")

    page.get_by_label("Seed").fill("3")
    page.get_by_role("button", name="Play an episode").click()
    expect(page.locator("#screen")).to_be_visible()
    expect(page.locator("[data-of=step]")).to_have_text(re.compile(r"\d\d+"))
    first = page.locator("#screen").get_attribute("src")
    until(lambda: page.locator("#screen").get_attribute("src") != first, seconds=20, what="the picture moves")
    eyes.keep("playing")
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#played")).to_have_text("Stopped.")
    eyes.open(page.url.removeprefix(eyes.base))
    expect(page.locator("section", has_text="Traffic").locator("canvas").first).to_be_visible()
    eyes.look("policy")


def test_the_page_is_usable_by_keyboard(eyes: Eyes, trained: str) -> None:
    page = eyes.page
    eyes.open("/")
    seen = []
    for _ in range(40):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("document.activeElement.textContent.trim() || document.activeElement.name"))
    assert seen[0] == "To the content"
    assert {"Runs", "Endpoints", "Start a run", "run", trained.removeprefix("/runs/"), "Compare the chosen"} <= set(
        seen
    )


def test_a_thousand_runs_open_at_once_and_page(eyes: Eyes, laptop: Laptop, trained: str) -> None:
    page = eyes.page

    def seconds_to_open() -> float:
        began = time.monotonic()
        eyes.open("/")
        page.locator("tr[id]").first.wait_for()
        return time.monotonic() - began

    put_finished_runs(laptop, range(PAGE_SIZE))
    few = statistics.median(seconds_to_open() for _ in range(5))
    put_finished_runs(laptop, range(PAGE_SIZE, RUNS))
    many = statistics.median(seconds_to_open() for _ in range(5))
    figure(f"The list opens in {many:.2f} s with {RUNS} runs, in {few:.2f} s with {PAGE_SIZE}.")
    assert many < 1 or many < 2 * few, "it takes longer the more runs there are"
    expect(page.locator("tr[id]")).to_have_count(PAGE_SIZE)

    page.get_by_label("Compare many-0999").check()
    page.get_by_label("Compare many-0998").check()
    with page.expect_response(lambda response: response.request.headers.get("hx-request") == "true"):
        pass  # the list was asked for anew
    page.wait_for_timeout(300)
    expect(page.get_by_label("Compare many-0999")).to_be_checked()
    eyes.look("runs")
    page.get_by_role("button", name="Compare the chosen").click()
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()

    eyes.open("/")
    pages = 1
    while page.get_by_role("link", name="Older").count():
        page.get_by_role("link", name="Older").click()
        page.wait_for_load_state()
        pages += 1
    assert pages == (RUNS + PAGE_SIZE) // PAGE_SIZE
    expect(page.locator("tr[id]")).to_have_count(1)


def test_runs_are_compared(eyes: Eyes, laptop: Laptop, trained: str) -> None:
    other = laptop.drop("other", RUN_FILE.replace("200000", "30000").replace("min_return: 100", "min_return: 490"))
    laptop.end_of(other)
    eyes.open(f"/compare?run={trained.removeprefix('/runs/')}&run={other}")
    expect(eyes.page.get_by_role("row", name="timesteps")).to_contain_text("200000")
    eyes.look("compare")
    eyes.open(f"/runs/{other}")
    expect(eyes.page.get_by_role("status").first).to_contain_text("rejected")
    eyes.look("rejected")
    eyes.open(f"/runs/{other}/report")
    expect(eyes.page.get_by_text("What to try")).to_be_visible()
    eyes.look("report-rejected")


def test_nothing_was_said_on_the_browsers_console(eyes: Eyes, faults: list[str], trained: str) -> None:
    assert (eyes.errors[:3], faults[:1]) == ([], [])


def put_finished_runs(laptop: Laptop, numbers: range) -> None:
    """Records as the pipeline leaves them."""
    table = next(name for name in laptop.client("dynamodb").list_tables()["TableNames"] if "Run" in name)
    requests = [{"PutRequest": {"Item": to_item(finished(number))}} for number in numbers]
    for first in range(0, len(requests), PAGE_SIZE):
        laptop.client("dynamodb").batch_write_item(RequestItems={table: requests[first : first + PAGE_SIZE]})


def finished(number: int) -> dict[str, object]:
    """The newer, the higher its number."""
    record = new_record(
        run_id=f"many-{number:04}",
        experiment="many",
        submitted_at=f"2099-01-01T00:{number // 60:02}:{number % 60:02}.000Z",
        endpoint="many",
        seeds=[0],
        total_timesteps=1000,
        price_per_hour=0.5,
        artifacts=f"s3://bucket/runs/many-{number:04}",
    )
    progress = {"seed-0": {"timesteps": 1000, "mean_return": 100 + number / 10, "seconds": 60, "attempts": 1}}
    return record | {"state": "SUCCEEDED" if number % 3 else "REJECTED", "progress": progress}
