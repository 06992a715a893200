"""The page over an embedded AWS, in a real browser.

UI_SCREENSHOTS names a folder to keep pictures in.
"""

import json
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from cli.deployment import Deployment
from cli.ui.server import Server
from tests.pipeline.conftest import laptop
from tests.pipeline.laptop import Laptop

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

if "UI_CHROMIUM" not in os.environ:
    # Only `make test-ui` sees to a browser; no other call of pytest needs one.
    collect_ignore_glob = ["test_*.py"]

__all__ = ["laptop"]

ROOT = Path(__file__).parents[2]
AXE = ROOT / "node_modules" / "axe-core" / "axe.min.js"
_figures: list[str] = []
DESK, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="session")
def address(laptop: Laptop) -> Iterator[str]:
    """What `rlpipe ui` prints."""
    deployment = Deployment(
        stage="local",
        input_bucket=laptop.input_bucket,
        artifacts_bucket=laptop.artifacts_bucket,
        state_machine_arn=laptop.state_machine,
        api_url=laptop.outputs["ApiUrl"],
        session=boto3.Session(region_name="us-east-1"),
        endpoint_url=laptop.endpoint_url,
    )
    server = Server(deployment, 0)
    thread = threading.Thread(target=server.serve)
    thread.start()
    yield server.address
    server.end()
    thread.join(20)


@pytest.fixture(scope="session")
def chromium() -> "Iterator[Browser]":
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        path = os.environ["UI_CHROMIUM"]
        sandbox = [] if os.geteuid() else ["--no-sandbox"]  # Chromium's does not work for root
        browser = playwright.chromium.launch(executable_path=path, args=sandbox)
        yield browser
        browser.close()


def figure(text: str) -> None:
    """Have a measurement printed at the end."""
    _figures.append(text)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The first test waits for the embedded AWS and for a run from its file to its endpoint."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1200))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in _figures:
        terminalreporter.write_line(line)


class Eyes:
    """A tab, and what one sees in it."""

    def __init__(self, page: "Page", base: str) -> None:
        self.page = page
        self.base = base
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)

    def open(self, path: str) -> None:
        self.page.goto(self.base + path)

    def look(self, name: str) -> None:
        """Nothing is wrong with what is shown now: for a screen reader, in the dark, on a phone."""
        for scheme, size in (("light", DESK), ("dark", DESK), ("light", PHONE)):
            self.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
            self.page.set_viewport_size(size)  # type: ignore[arg-type]
            self.page.wait_for_timeout(250)  # charts are drawn anew after a resize
            self.keep(f"{name}-{scheme}-{size['width']}")
            assert self.violations() == [], f"{name}, {scheme}, {size['width']} pixels"
            wide = self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{name} is {wide} pixels wider than {size['width']}"
        self.page.emulate_media(color_scheme="light")
        self.page.set_viewport_size(DESK)  # type: ignore[arg-type]

    def keep(self, name: str) -> None:
        """Keep a picture of what is shown, if pictures are wanted."""
        if folder := os.environ.get("UI_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

    def violations(self) -> list[str]:
        """What axe-core calls serious or critical."""
        if not self.page.evaluate("typeof axe === 'object'"):
            self.page.evaluate(AXE.read_text(encoding="utf-8"))
        found: list[Any] = self.page.evaluate(
            "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)"
        )
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in found
            if one["impact"] in ("serious", "critical")
            for node in one["nodes"]
        ]

    def points(self) -> int:
        """Points of the first line of the first chart."""
        document = json.loads(self.page.locator("script.document").first.text_content() or "{}")
        return len(document["lines"][0]["x"]) if document["lines"] else 0


class Faults(logging.Handler):
    """Keeps what the page's server logs, so that a test that fails on a 500 shows its cause."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


@pytest.fixture(scope="session")
def faults(address: str) -> Iterator[list[str]]:
    """Tracebacks of the page's server, once its settings of logging are made."""
    keeper = Faults()
    logging.getLogger("uvicorn.error").addHandler(keeper)
    yield keeper.said
    logging.getLogger("uvicorn.error").removeHandler(keeper)


@pytest.fixture(scope="session")
def eyes(chromium: "Browser", address: str, faults: list[str]) -> Iterator[Eyes]:
    """A browser that has opened the printed address."""
    context = chromium.new_context(viewport=DESK, reduced_motion="reduce")  # type: ignore[arg-type]
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(address)
    base = address.partition("/?")[0]
    assert page.url == f"{base}/"
    yield Eyes(page, base)
    context.close()
