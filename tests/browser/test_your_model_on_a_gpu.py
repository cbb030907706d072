"""The notebook on a model of one's own in a real browser: the memory is drawn, and the report opens in its cell."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

NOTEBOOK = "11_your_model_on_a_gpu.ipynb"


def test_the_memory_is_drawn_and_the_report_opens(
    page: Page, run_all: Callable[..., list[dict[str, Any]]], assert_healthy: Callable[[Page], None]
) -> None:
    assert run_all(page, NOTEBOOK, timeout=600) == []
    assert_healthy(page)
    figure = page.locator(".js-plotly-plot", has_text="all activations kept")
    for part in ("weights", "gradients", "optimiser", "activations"):
        expect(figure.get_by_text(part, exact=True)).to_have_count(1)
    row = page.locator("table.dataframe tr", has=page.get_by_role("rowheader", name="CoTo", exact=True))
    expect(row.first).to_contain_text("1420032")
    report = page.frame_locator("iframe[title='Adapter report']")
    expect(report.get_by_role("heading", name="Adapter report: LoRA, CoTo")).to_be_visible()
    assert page.left_home == []  # type: ignore[attr-defined]
