"""The live training, driven as a reader drives it: Start, Pause, Resume, Stop."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import Locator, Page, expect

# Steps that the first line (LoRA's loss) of the last live figure shows; plotly packs numbers, and unpacks them here.
LAST_STEP = """() => {
    const figure = Array.from(document.querySelectorAll('.coto-live .js-plotly-plot')).at(-1);
    return Math.max(-1, ...figure._fullData[0].x);
}"""

WIDTH = "() => document.querySelector('.coto-live .js-plotly-plot')._fullLayout.width"

# The notebook's training, so long that it does not end before a click is there.
STEPS = 20_000
LONG = f"""from dataclasses import replace

long = LiveTraining(task, {{name: replace(recipe, steps={STEPS}) for name, recipe in recipes.items()}})
long.feed(board)
long"""


def step(sentence: Locator) -> int:
    found = re.search(r"step (\d+) of", sentence.inner_text())
    assert found, sentence.inner_text()
    return int(found[1])


def test_start_pause_resume_and_stop(
    page: Page,
    run_all: Callable[..., list],
    add_and_run: Callable[[Page, str], None],
    assert_healthy: Callable[[Page], None],
) -> None:
    assert run_all(page, "03_training_live.ipynb") == []
    assert_healthy(page)
    views = page.locator(".coto-live")
    sentence = views.last.locator("[aria-live]").last
    finished = step(sentence)
    expect(sentence).to_contain_text("Finished: ")
    page.wait_for_function(f"({LAST_STEP})() >= {finished - 1}")  # the page is level with the run
    assert page.evaluate(WIDTH) > 800  # as wide as the notebook: the page was heard while the cell waited

    n_views = views.count()
    add_and_run(page, LONG)
    expect(views).to_have_count(n_views + 1)
    live, sentence = views.last, views.last.locator("[aria-live]").last
    button = lambda name: live.get_by_role("button", name=name)  # noqa: E731
    button("Start").click()
    expect(sentence).to_contain_text("Training: step")
    expect(button("Start")).to_be_disabled()
    button("Pause").click()
    expect(sentence).to_contain_text("Paused: step")
    held = step(sentence)
    page.wait_for_timeout(1_000)
    assert 0 < held == step(sentence) < STEPS
    button("Resume").click()
    expect(sentence).to_contain_text("Training: step")
    button("Stop").click()
    expect(sentence).to_contain_text("Stopped: step")
    stopped = step(sentence)
    assert held <= stopped < STEPS
    expect(button("Start")).to_be_enabled()
    page.wait_for_function(f"({LAST_STEP})() === {stopped - 1}")
    expect(page.locator(".coto-switchboard [aria-live]").last).to_contain_text("adapters open classifies")

    button("Start").click()  # by now JupyterLab sends clicks to a thread of their own
    expect(sentence).to_contain_text("Training: step")
    button("Stop").click()
    expect(sentence).to_contain_text("Stopped: step")
    assert page.left_home == []  # type: ignore[attr-defined]
