"""A real Chromium, and pages that remember what went wrong in them; the folders of browser tests make fixtures of these."""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Error, Page, Request, ViewportSize, WebSocket, sync_playwright

ROOT = Path(__file__).parents[1]
SCREENSHOTS = ROOT / "test-results"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
VIEWPORT: ViewportSize = {"width": 1280, "height": 1000}


def find_chromium() -> str:
    """The browser's path; the test fails where there is none, since a skipped browser test proves nothing."""
    chosen = os.environ.get("COTO_LAB_CHROMIUM")
    found = shutil.which(chosen) if chosen else next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        looked = f"COTO_LAB_CHROMIUM={chosen!r} is no program" if chosen else f"none of {', '.join(CHROMIUM)} is on the PATH"
        pytest.fail(
            f"the browser tests need Chromium: {looked}. On Debian: apt-get update && apt-get install -y chromium. "
            "Elsewhere set COTO_LAB_CHROMIUM to the program of a Chromium or Chrome.",
            pytrace=False,
        )
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """A Chromium with its event loop: until it is closed, no other test in the process can run a loop of its own."""
    path = find_chromium()
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One for each file, for the sake of the other tests in the process."""
    with chromium() as started:
        yield started


def open_page(browser: Browser, patience: int, home: Collection[str]) -> Page:
    """A page in a fresh context that waits ``patience`` milliseconds. ``page.left_home`` lists the requests to other hosts than
    those in ``home``, ``page.errors`` the console's errors.
    """
    context = browser.new_context(viewport=VIEWPORT)
    context.set_default_timeout(patience)
    page = context.new_page()
    left_home: list[str] = []
    errors: list[str] = []

    def record(request_or_socket: Request | WebSocket) -> None:
        url = urlsplit(request_or_socket.url)
        if url.scheme in ("http", "https", "ws", "wss") and url.hostname not in home:
            left_home.append(request_or_socket.url)

    def record_error(message: ConsoleMessage) -> None:
        if message.type == "error":
            errors.append(message.text)

    context.on("request", record)
    context.on("console", record_error)
    page.on("websocket", record)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.left_home, page.errors = left_home, errors  # type: ignore[attr-defined]
    return page


def pictured_failure(page: Page, request: pytest.FixtureRequest) -> bool:
    """Whether the test failed; if so, ``test-results/`` then has the errors of the console and, if possible, a screenshot."""
    report = request.node.stash.get(_REPORT, None)
    if report is None or not report.failed:
        return False
    SCREENSHOTS.mkdir(exist_ok=True)
    (SCREENSHOTS / f"{request.node.name}.console.txt").write_text("\n".join(page.errors))  # type: ignore[attr-defined]
    with suppress(Error):
        page.screenshot(path=SCREENSHOTS / f"{request.node.name}.png")
    return True


@contextmanager
def watched_page(browser: Browser, request: pytest.FixtureRequest, patience: int, home: Collection[str]) -> Iterator[Page]:
    """A page of a test's own (`open_page`), pictured if the test fails."""
    page = open_page(browser, patience, home)
    yield page
    pictured_failure(page, request)
    page.context.close()


_REPORT = pytest.StashKey[pytest.TestReport]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.when == "call":
        item.stash[_REPORT] = report
    return report
