"""The notebook on a language model in a real browser: figures of attention, and a board that shows text with its mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

NOTEBOOK = "10_a_language_model.ipynb"

# The names of the heat maps of each figure, in order.
HEAT_MAPS = """() => Array.from(document.querySelectorAll('.js-plotly-plot')).map(figure =>
    figure.data.filter(trace => trace.type === 'heatmap').map(trace => trace.name ?? ''))"""

# How many characters of the samples that the board shows are wrong.
WRONG = """shown = board.task.show("test", range(min(30, board.task.size("test"))))
print(sum(a != b for said, example in zip(board.scores.said[0], shown) for a, b in zip(said, example.answer)))"""

# The letters that are underlined in the board's figure, and the colours in which they are drawn.
UNDERLINED = """() => {
    const parts = Array.from(document.querySelectorAll('.coto-switchboard .js-plotly-plot tspan'))
        .filter(part => (part.getAttribute('style') ?? '').includes('underline'));
    return {letters: parts.map(part => part.textContent).join('').length,
            colours: [...new Set(parts.map(part => getComputedStyle(part).fill))],
            weights: [...new Set(parts.map(part => getComputedStyle(part).fontWeight))]};
}"""


def test_attention_is_drawn_and_the_board_marks_wrong_characters_in_both_themes(
    page: Page,
    run_all: Callable[..., list[dict[str, Any]]],
    add_and_run: Callable[[Page, str], None],
    assert_healthy: Callable[[Page], None],
) -> None:
    assert run_all(page, NOTEBOOK, timeout=600) == []
    assert_healthy(page)
    assert ["base on its own L", "base on !", "LoRA on !", "CoTo on !"] in page.evaluate(HEAT_MAPS)

    board = page.locator(".coto-switchboard")

    def press(name: str, says: str) -> None:
        board.get_by_role("button", name=re.compile(rf"(^|\W){name}$")).focus()  # a switch has an icon before its name
        page.keyboard.press("Space")
        board.get_by_text(says).wait_for()

    press("none", "LoRA with 0 of 24 adapters open")
    assert "0.0%" in board.locator("[aria-live]").inner_text(), "the base does not know the sign"
    press("block 7", "LoRA with 3 of 24 adapters open")
    add_and_run(page, WRONG)
    count = page.locator(".jp-OutputArea-output pre").last
    expect(count).to_have_text(re.compile(r"^\s*\d+\s*$"))
    wrong = int(count.inner_text())
    assert wrong > 0
    title = board.locator(".annotation-text").last
    expect(title).to_have_text("samples: text → answer (right answer), wrong characters underlined")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        before = title.evaluate("text => getComputedStyle(text).fill")
        page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', {theme})", theme)
        expect(title).not_to_have_css("fill", before)
        page.wait_for_function(f"wrong => ({UNDERLINED})().letters === wrong", arg=wrong)
        assert page.evaluate(UNDERLINED) == {"letters": wrong, "colours": ["rgb(213, 94, 0)"], "weights": ["700"]}
    first = board.locator(".textpoint text").first
    first.scroll_into_view_if_needed()
    line = first.bounding_box()
    assert line is not None
    page.mouse.move(line["x"] + 20, line["y"] + 8)
    page.mouse.move(line["x"] + 25, line["y"] + 8)
    expect(board.locator(".hovertext")).to_contain_text("model's answer: ")
