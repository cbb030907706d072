"""The notebook on pruning in a real browser: adapters are switched off, and what the page shows follows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Locator, Page

NOTEBOOK = "05_pruning_and_stability.ipynb"


def shown(board: Locator) -> tuple[float, list[list[int]]]:
    """Accuracy and confusion matrix, as the figure in the page has them."""
    accuracy, counts = board.locator(".js-plotly-plot").evaluate("""plot => {
        const [mistakes, hits] = [plot.data[2].z, plot.data[3].z];
        return [plot.data[0].x[0], mistakes.map((row, i) => row.map((n, j) => (n ?? 0) + (hits[i][j] ?? 0)))];
    }""")
    return accuracy, counts


def test_switches_change_accuracy_and_confusion(
    page: Page, run_all: Callable[..., list[dict[str, Any]]], assert_healthy: Callable[[Page], None]
) -> None:
    assert run_all(page, NOTEBOOK) == []
    assert_healthy(page)
    board = page.locator(".coto-switchboard")

    def press(name: str, says: str) -> float:
        """Press a button by keyboard, wait until the sentence says something, and return the accuracy in percent."""
        _, before = shown(board)
        board.get_by_role("button", name=re.compile(rf"(^|\W){name}$")).focus()  # a switch has an icon before its name
        page.keyboard.press("Space")
        board.get_by_text(says).wait_for()
        accuracy, counts = shown(board)
        assert f"{accuracy:.1f}%" in board.locator("[aria-live]").inner_text()
        assert sum(map(sum, counts)) == 410 and counts != before
        return accuracy

    without_a_block = press("block 0", "LoRA with 21 of 24 adapters open")
    assert press("none", "LoRA with 0 of 24 adapters open") < without_a_block
    press("v 3", "LoRA with 1 of 24 adapters open")
    press("high third", "LoRA with 9 of 24 adapters open")
    press("CoTo", "CoTo with 9 of 24 adapters open")
    press("all", "CoTo with 24 of 24 adapters open")
    press("surprise me", "CoTo with 14 of 24 adapters open")  # what the board's seed draws first
    assert page.left_home == []  # type: ignore[attr-defined]
