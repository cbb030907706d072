"""The notebook on LoRA and gates in a real browser: a finished adapter is turned down by keyboard and by typing."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

# Where the marks stand: per method, the factor and the accuracy in percent.
MARKS = """() => document.querySelector('.coto-scale .js-plotly-plot')._fullData
    .filter(trace => trace.name.endsWith('here')).map(trace => [trace.x[0], trace.y[0]])"""


def test_an_adapter_is_turned_down(page: Page, run_all: Callable[..., list], assert_healthy: Callable[[Page], None]) -> None:
    assert run_all(page, "01_lora_and_gates.ipynb") == []
    assert_healthy(page)

    explorer = page.locator(".coto-scale")
    expect(explorer.get_by_text("1 · ΔW classifies correctly:")).to_be_visible()
    assert [factor for factor, _ in page.evaluate(MARKS)] == [1, 1]
    explorer.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowLeft")
    expect(explorer.locator("input")).to_have_value("0.875")
    expect(explorer.get_by_text("0.875 · ΔW classifies correctly:")).to_be_visible()
    for typed in ("0.33", "0"):
        explorer.locator("input").fill(typed)
        page.keyboard.press("Enter")
        expect(explorer.get_by_text(f"{typed} · ΔW classifies correctly:")).to_be_visible()
        page.wait_for_function(f"({MARKS})().every(([factor, _]) => factor === {typed})")
    (_, lora), (_, coto) = page.evaluate(MARKS)
    assert lora == coto, "both are the base model"
    assert page.left_home == []  # type: ignore[attr-defined]
