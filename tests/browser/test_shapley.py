"""The notebook on Shapley values in a real browser: players come and go, and what the page shows follows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page

NOTEBOOK = "07_shapley.ipynb"


def shown(board: Locator) -> dict[str, list[float | None]]:
    """The bars, as the figure in the page has them: name -> heights."""
    read = "plot => Object.fromEntries(plot.data.map(trace => [trace.name, Array.from(trace.y)]))"
    return board.locator(".js-plotly-plot").evaluate(read)


def press(page: Page, board: Locator, name: str, says: str) -> dict[str, list[float | None]]:
    """Press a button by keyboard, wait until the sentence says something, and return what the figure then shows."""
    board.get_by_role("button", name=re.compile(rf"(^|\W){name}$")).focus()  # a switch has an icon before its name
    page.keyboard.press("Space")
    board.get_by_text(says).wait_for()
    return shown(board)


def test_players_of_both_games_come_and_go(
    page: Page, run_all: Callable[..., list[dict[str, Any]]], assert_healthy: Callable[[Page], None]
) -> None:
    assert run_all(page, NOTEBOOK) == []
    assert_healthy(page)
    gloves, adapters = page.locator(".coto-game").all()

    assert press(page, gloves, "right glove 1", "left glove and right glove 1 earn 6.0")["in, adds"] == [6, 6, None]
    bars = press(page, gloves, "everybody", "all 3 players earn 6.0")
    assert (bars["in, adds"], bars["Shapley value"]) == ([6, 0, 0], [None] * 3)
    gloves.get_by_role("button", name="show Shapley values").click()
    page.wait_for_function("() => document.querySelector('.coto-game .js-plotly-plot').data.at(-1).y[0] !== null")
    assert [round(value, 6) for value in shown(gloves)["Shapley value"]] == [4, 1, 1]

    bars = press(page, adapters, "nobody", "LoRA: nobody earns 42.0%")
    assert bars["in, adds"] == [None] * 8 and min(bars["out, would add"]) > 0
    press(page, adapters, "CoTo", "CoTo: nobody earns 42.0%")
    bars = press(page, adapters, "everybody", "CoTo: all 8 players earn 98.0%")
    assert max(bars["in, adds"]) < 5 and bars["out, would add"] == [None] * 8
    assert page.left_home == []  # type: ignore[attr-defined]
