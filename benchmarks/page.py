"""The playground in a real Chromium: what comes before the first reading, and how soon the readings follow a hand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from _setup import Scale

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[1]
SEVEN = "09gggg900588ag9000009g200000fd000005g600000bg100002ga000003g4000"
DIGIT = "document.querySelector('.reading.coto output')?.textContent"

# When the first reading is there, and how many bytes came until then; both since the page was asked for.
_FIRST = f"""const look = () => {{
    if (!/\\d/.test({DIGIT})) return requestAnimationFrame(look);
    const came = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    window.first = {{ ms: performance.now(), bytes: came.reduce((sum, one) => sum + one.encodedBodySize, 0) }};
}};
requestAnimationFrame(look);"""

# From an event to the cards that show what is read after it. The cards are marked as stale while they show an older image.
_FOLLOWED = """async ([kind, times]) => {
    const [cards, card] = [".cards", ".reading.coto .how"].map((name) => document.querySelector(name));
    const [paper, blocks] = [document.querySelector(".coto-pad-paper"), document.querySelectorAll("[role=switch]")];
    const box = paper.getBoundingClientRect();
    const act = {
        click: (i) => blocks[(i * 3) % blocks.length].click(),
        stroke: (i) => paper.dispatchEvent(new PointerEvent("pointermove", { pointerId: 1,
            clientX: box.left + box.width * (0.5 + 0.3 * Math.sin(i)), clientY: box.top + box.height * (0.2 + 0.025 * i) })),
    }[kind];
    const taken = [];
    for (let i = 0; i < times; i++) {
        const started = performance.now();
        const shown = new Promise((resolve, reject) => {
            setTimeout(() => reject(new Error(`no reading after ${kind} ${i}`)), 10_000);
            new MutationObserver((_, observer) => {
                if (cards.classList.contains("stale")) return;
                observer.disconnect();
                resolve();
            }).observe(card, { childList: true });
        });
        act(i);
        await shown;
        taken.push(performance.now() - started);
        await new Promise((resolve) => setTimeout(resolve, 100));
    }
    return taken;
}"""


def page(scale: Scale) -> dict[str, float]:
    """Medians; the time from an event of the pointer until the cards show what is read after it, before they are drawn."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("COTO_LAB_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with _site() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        firsts = [_first(browser, address) for _ in range(scale.repeats)]
        opened = _opened(browser, address)
        strokes = _strokes(opened, scale.clicks)
        clicks = opened.evaluate(_FOLLOWED, ["click", scale.clicks])
        _mount_figures(opened)
        with_figures = opened.evaluate(_FOLLOWED, ["click", scale.clicks])
        browser.close()
    return {
        "page.first_mb": firsts[0]["bytes"] / 1e6,
        "page.first_ms": median(first["ms"] for first in firsts),
        "page.stroke_ms": median(strokes),
        "page.click_ms": median(clicks),
        "page.click_with_figures_ms": median(with_figures),
    }


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def _site() -> Iterator[str]:
    """The address of the written page."""
    with TemporaryDirectory() as folder:
        written = Path(folder) / "site"
        subprocess.run([sys.executable, ROOT / "pages/playground.py", "--out", written], check=True, stdout=subprocess.DEVNULL)
        with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(written))) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://127.0.0.1:{server.server_port}/index.html#image={SEVEN}"
            server.shutdown()


def _first(browser: Browser, address: str) -> dict[str, float]:
    """With nothing kept from before."""
    context = browser.new_context()
    opened = context.new_page()
    opened.add_init_script(_FIRST)
    opened.goto(address)
    opened.wait_for_function("window.first")
    found: dict[str, float] = opened.evaluate("window.first")
    context.close()
    return found


def _opened(browser: Browser, address: str) -> Page:
    opened = browser.new_page(viewport={"width": 1280, "height": 1000})
    opened.goto(address)
    opened.wait_for_function(f"/\\d/.test({DIGIT})")
    return opened


def _mount_figures(opened: Page) -> None:
    opened.get_by_label("Ask me before you show").uncheck()
    opened.locator("#figures").scroll_into_view_if_needed()
    opened.wait_for_function("document.querySelectorAll('.figure-plot svg').length === 4")


def _strokes(opened: Page, times: int) -> list[float]:
    """A line goes on, event by event."""
    box = opened.locator(".coto-pad-paper").bounding_box()
    assert box is not None
    opened.mouse.move(box["x"] + 20, box["y"] + 20)
    opened.mouse.down()
    taken: list[float] = opened.evaluate(_FOLLOWED, ["stroke", times])
    opened.mouse.up()
    return taken
