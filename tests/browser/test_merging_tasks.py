"""The notebook on merging tasks in a real browser: faders, presets and rules, and what the page shows follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page

NOTEBOOK = "06_merging_tasks.ipynb"


def bars(desk: Locator) -> list[float]:
    """Accuracy on the six tasks, and their mean, as the figure in the page has them."""
    return desk.locator(".js-plotly-plot").evaluate("plot => Array.from(plot.data[0].y)")


def test_the_bars_follow_faders_presets_and_rules(
    page: Page, run_all: Callable[..., list[dict[str, Any]]], assert_healthy: Callable[[Page], None]
) -> None:
    assert run_all(page, NOTEBOOK) == []
    assert_healthy(page)
    desk = page.locator(".coto-desk")

    def shows(says: str) -> list[float]:
        """Wait until the sentence says something, and return the bars, whose mean it tells."""
        desk.get_by_text(says).wait_for()
        found = bars(desk)
        assert found[-1] == pytest.approx(sum(found[:-1]) / 6)
        assert f"{found[-1]:.1f}%" in desk.locator("[aria-live]").last.inner_text()
        return found

    def press(name: str, says: str) -> list[float]:
        """Press a button by keyboard."""
        desk.get_by_role("button", name=name).focus()
        page.keyboard.press("Space")
        return shows(says)

    equal = shows("LoRA, seed 0, ensemble of 6 adapters")
    alone = press("only it", "ensemble of 1 adapter:")
    assert alone[0] > equal[0] and alone[0] > 80, "the adapter for handwritten digits alone"
    without = press("without it", "ensemble of 5 adapters")
    assert without[0] < equal[0]

    handle = desk.locator(".noUi-handle").nth(3)  # the first fader; the three hidden ones are the options of rules
    handle.focus()
    page.keyboard.press("ArrowRight")
    shows("ensemble of 6 adapters")
    assert desk.locator(".coto-number").nth(3).get_by_role("textbox").input_value() == "0.1"

    assert press("all equal", f"is {equal[-1]:.1f}%") == equal
    assert press("CoTo", "CoTo, seed 0, ensemble of 6 adapters") != equal
    rule = desk.get_by_label("rule")
    rule.select_option("ties")
    shows("CoTo, seed 0, ties of 6 adapters")
    assert desk.get_by_text("density", exact=True).is_visible() and not desk.get_by_text("rank", exact=True).is_visible()
    rule.select_option("lego")
    shows("CoTo, seed 0, lego of 6 adapters")
    desk.get_by_role("button", name="minus it").click()
    desk.get_by_text("lego cannot mix so").wait_for()
    assert page.left_home == []  # type: ignore[attr-defined]
