"""Samples that are texts, in a page: the model's answers, with their wrong characters marked, in both themes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

NOTEBOOK = "text_samples.ipynb"
CELLS = [
    "from coto_lab import Recipe, fit, load_task\n"
    "from coto_lab.notebook import setup\n"
    "from coto_lab.widgets import Switchboard\n"
    "setup(threads=1)\n"
    "task = load_task('strings/sort-descending').every(16)\n"
    "board = Switchboard(task)\n"
    "board",
    "board.take({'LoRA': fit(task, Recipe(steps=8, batch_size=16), progress=False)})",
    "board.blocks[7].value = False\n"
    "answers = zip(board.scores.said[0], task.show('test', range(30)))\n"
    "print(sum(a != b for said, example in answers for a, b in zip(said, example.answer)))",
]

# The letters that are underlined in a figure, and the colours in which they are drawn.
UNDERLINED = """() => {
    const parts = Array.from(document.querySelectorAll('.coto-switchboard .js-plotly-plot tspan'))
        .filter(part => (part.getAttribute('style') ?? '').includes('underline'));
    return {letters: parts.map(part => part.textContent).join('').length,
            colours: [...new Set(parts.map(part => getComputedStyle(part).fill))],
            weights: [...new Set(parts.map(part => getComputedStyle(part).fontWeight))]};
}"""


def test_wrong_characters_are_marked_in_both_themes(
    page: Page, run_all: Callable[..., list[dict[str, Any]]], write_notebook: Callable[..., None]
) -> None:
    write_notebook(NOTEBOOK, CELLS)
    assert run_all(page, NOTEBOOK) == []
    wrong = int(page.locator(".jp-OutputArea-output pre").last.inner_text())
    assert wrong > 0
    title = page.locator(".coto-switchboard .annotation-text").last
    expect(title).to_have_text("samples: text → answer (right answer), wrong characters underlined")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        page.wait_for_function(f"wrong => ({UNDERLINED})().letters === wrong", arg=wrong)
        assert page.evaluate(UNDERLINED) == {"letters": wrong, "colours": ["rgb(213, 94, 0)"], "weights": ["700"]}
    first = page.locator(".coto-switchboard .textpoint text").first
    first.scroll_into_view_if_needed()
    line = first.bounding_box()
    assert line is not None
    page.mouse.move(line["x"] + 20, line["y"] + 8)
    page.mouse.move(line["x"] + 25, line["y"] + 8)
    expect(page.locator(".coto-switchboard .hovertext")).to_contain_text("model's answer: ")
