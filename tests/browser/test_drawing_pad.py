"""The drawing pad in JupyterLab: what is drawn reaches the kernel, and what the kernel sets is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pad_by_mouse import counts, draw
from playwright.sync_api import Page, expect

CELLS = [
    "from coto_lab import load_task\n"
    "from coto_lab.notebook import setup\n"
    "from coto_lab.studies.gallery import load_run\n"
    "from coto_lab.widgets import DrawingPad\n"
    "setup(threads=1)\n"
    "runs = {name: load_run(f'{name.lower()}-seed0') for name in ('LoRA', 'CoTo')}\n"
    "view = DrawingPad(load_task('digits'), runs)\n"
    "view",
]
ONE = [(16, 4), (16, 28)]  # a line, in cells of the pad


def test_a_drawing_is_read_by_the_kernel(
    page: Page,
    run_all: Callable[..., list[dict[str, Any]]],
    add_and_run: Callable[[Page, str], None],
    write_notebook: Callable[..., str],
) -> None:
    assert run_all(page, write_notebook(CELLS)) == []
    view = page.locator(".coto-drawing-pad")
    sentence = view.locator("[aria-live]").last
    expect(sentence).to_have_text("Nothing is drawn. Draw a digit on the pad.")
    page.wait_for_selector(".coto-drawing-pad .main-svg")

    view.locator(".coto-pad-paper").scroll_into_view_if_needed()
    draw(page, ONE, steps=8)
    expect(sentence).to_contain_text("CoTo 1 (")
    expect(view.locator(".coto-pad-ink polyline")).to_have_count(1)  # the kernel's answer does not replace the drawing
    assert max(counts(page)) == 16

    def says(code: str, words: str) -> None:
        add_and_run(page, code)
        expect(page.locator(".jp-OutputArea-output pre").last).to_have_text(words)

    says("print(view.pad.counts)", str(counts(page)))
    says("view.pad.counts = [16] * 64\nprint('set')", "set")
    expect(view.locator(".coto-pad-ink rect")).to_have_count(64)
    view.get_by_role("button", name="Clear").click()
    expect(sentence).to_have_text("Nothing is drawn. Draw a digit on the pad.")
    assert page.left_home == []  # type: ignore[attr-defined]
