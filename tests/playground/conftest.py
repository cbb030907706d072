"""The playground as its readers get it: a real Chromium, and a server that gives it the written folder."""

from __future__ import annotations

import base64
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import real_browser
import torch
from playwright.sync_api import Browser, Page, expect

ROOT = Path(__file__).parents[2]
PATIENCE = 30_000  # milliseconds; this only ends a test that would fail anyway
HOME = ("http://127.0.0.1:", "about:", "data:", "blob:")
BELOW = "any/path"  # the page must work below any path, so it is not at the server's root
sys.path.append(str(ROOT / "pages"))

browser, pytest_runtest_makereport = real_browser.browser, real_browser.pytest_runtest_makereport


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that ``pages/playground.py`` writes."""
    import playground

    folder = tmp_path_factory.mktemp("server") / BELOW
    playground.write(ROOT, folder)
    return folder


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="session")
def site(written: Path) -> Iterator[str]:
    """The address of the page: ``f"{site}/index.html"``, ``f"{site}/js/vit.js"``."""
    root = written.parents[len(Path(BELOW).parts) - 1]
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(root))) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/{BELOW}"
        server.shutdown()
        thread.join()


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """An empty page in a fresh context (`real_browser.watched_page`)."""
    with real_browser.watched_page(browser, request, PATIENCE, {"127.0.0.1"}) as page:
        yield page
        assert page.left_home == []  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def tab(browser: Browser) -> Iterator[Page]:
    """One page for most tests, since a fresh context takes half a second; it has the console's errors in ``page.errors``."""
    page = real_browser.open_page(browser, PATIENCE, {"127.0.0.1"})
    errors: list[str] = page.errors  # type: ignore[attr-defined]
    page.on("request", lambda one: None if one.url.startswith(HOME) else errors.append(f"{one.url} was asked for"))
    yield page
    page.context.close()


@pytest.fixture
def opened(tab: Page, site: str) -> Iterator[Callable[..., Page]]:
    """``opened(hash)``: the page with this address, once its models have been loaded. Afterwards: no error, no request away.

    Nor does the page show a problem, unless a test has opened a damaged address: some errors only the page itself is told of.
    """

    def go(hash: str = "") -> Page:
        tab.goto("about:blank")  # otherwise another hash is no new page
        tab.goto(f"{site}/index.html{hash}")
        expect(tab.locator("[data-part=readings] .waiting")).to_have_count(0, timeout=PATIENCE)
        return tab

    yield go
    tab.evaluate("localStorage.clear()")  # the score and the theme
    shown = tab.locator("[data-part=problem]:not([hidden])").all_inner_texts()
    found = tab.errors + [sentence for sentence in shown if "address of this page" not in sentence]  # type: ignore[attr-defined]
    tab.errors.clear()  # type: ignore[attr-defined]
    assert found == []


@pytest.fixture(scope="module")
def run_js(browser: Browser, site: str) -> Iterator[Callable[..., Any]]:
    """``run_js(body, argument)``: what an async function with this body returns in the browser.

    In the body, ``load("vit.js")`` imports a module of the page, ``tensors("model/model.safetensors")`` and
    ``json("model/config.json")`` read a file of it, and ``argument`` is the argument. A body that returns
    ``floats(array)`` of a Float32Array makes ``run_js`` return a tensor, bit for bit; many numbers one by one take seconds.
    """
    page = browser.new_page()
    page.goto(f"{site}/model/config.json")  # a small file, only so that the modules are of the page's own address

    def run(body: str, argument: Any = None) -> Any:
        found = page.evaluate(_FUNCTION % body, [site, argument])
        if isinstance(found, dict) and found.keys() == {"float32"}:
            return torch.frombuffer(bytearray(base64.b64decode(found["float32"])), dtype=torch.float32)
        return found

    yield run
    page.close()


_FUNCTION = """async ([site, argument]) => {
    const load = (name) => import(`${site}/js/${name}`);
    const json = async (path) => (await fetch(`${site}/${path}`)).json();
    const bytes = async (path) => (await fetch(`${site}/${path}`)).arrayBuffer();
    const tensors = async (path) => (await load("safetensors.js")).readSafetensors(await bytes(path));
    const letters = (array) => Array.from(new Uint8Array(array.buffer), (byte) => String.fromCharCode(byte));
    const floats = (array) => ({ float32: btoa(letters(array).join("")) });
    %s
}"""
