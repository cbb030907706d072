"""The notebook on a language model in a real browser: figures of attention, and a board that shows text with its mistakes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page

NOTEBOOK = "10_a_language_model.ipynb"

# The names of the heat maps of each figure, in order.
HEAT_MAPS = """() => Array.from(document.querySelectorAll('.js-plotly-plot')).map(figure =>
    figure.data.filter(trace => trace.type === 'heatmap').map(trace => trace.name ?? ''))"""


def test_attention_is_drawn_and_the_board_shows_answers(
    page: Page, run_all: Callable[..., list[dict[str, Any]]], assert_healthy: Callable[[Page], None]
) -> None:
    assert run_all(page, NOTEBOOK, timeout=600) == []
    assert_healthy(page)
    assert ["base on its own L", "base on !", "LoRA on !", "CoTo on !"] in page.evaluate(HEAT_MAPS)

    board = page.locator(".coto-switchboard")
    seen = board.locator(".js-plotly-plot").first
    before = seen.inner_html()
    board.get_by_role("button", name=re.compile(r"(^|\W)none$")).focus()
    page.keyboard.press("Space")
    board.get_by_text("LoRA with 0 of 24 adapters open").wait_for()
    assert "0.0%" in board.locator("[aria-live]").inner_text(), "the base does not know the sign"
    page.wait_for_function("([plot, before]) => plot.innerHTML !== before", arg=[seen.element_handle(), before])
    assert seen.locator("tspan[style*='underline']").count(), "wrong characters are underlined"
