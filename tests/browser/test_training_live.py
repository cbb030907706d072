"""The live training, driven as a reader drives it: Start, Pause, Resume, Stop."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Page, expect

# Steps that the first line (LoRA's loss) of the live figure shows; plotly packs numbers, and unpacks them here.
LAST_STEP = "() => Math.max(...document.querySelector('.coto-live .js-plotly-plot')._fullData[0].x)"

WIDTH = "() => document.querySelector('.coto-live .js-plotly-plot')._fullLayout.width"


def test_start_pause_resume_and_stop(page: Page, run_all: Callable[..., list], assert_healthy: Callable[[Page], None]) -> None:
    assert run_all(page, "03_training_live.ipynb") == []
    assert_healthy(page)
    live = page.locator(".coto-live").first  # the notebook shows the view again further down
    button = lambda name: live.get_by_role("button", name=name)  # noqa: E731
    sentence = live.locator("[aria-live]").last

    def step() -> int:
        found = re.search(r"step (\d+) of", sentence.inner_text())
        assert found, sentence.inner_text()
        return int(found[1])

    finished = step()
    expect(sentence).to_contain_text("Finished: ")
    page.wait_for_function(f"({LAST_STEP})() >= {finished - 1}")  # the page is level with the run
    assert page.evaluate(WIDTH) > 800  # as wide as the notebook: the page was heard while the cell waited

    button("Start").click()
    expect(sentence).to_contain_text("Training: step")
    expect(button("Start")).to_be_disabled()
    button("Pause").click()
    expect(sentence).to_contain_text("Paused: step")
    held = step()
    page.wait_for_timeout(1_000)
    assert 0 < held == step() < finished
    button("Resume").click()
    expect(sentence).to_contain_text("Training: step")
    button("Stop").click()
    expect(sentence).to_contain_text("Stopped: step")
    stopped = step()
    assert held <= stopped < finished
    expect(button("Start")).to_be_enabled()
    page.wait_for_function(f"({LAST_STEP})() === {stopped - 1}")
    expect(page.locator(".coto-switchboard [aria-live]").last).to_contain_text("adapters open classifies")

    button("Start").click()  # by now JupyterLab sends clicks to a thread of their own
    expect(sentence).to_contain_text("Training: step")
    button("Stop").click()
    expect(sentence).to_contain_text("Stopped: step")
    assert page.left_home == []  # type: ignore[attr-defined]
