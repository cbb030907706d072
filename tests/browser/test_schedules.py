"""The notebook on schedules in a real browser: the explorer is moved by keyboard, typed into, and reset."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

NOTEBOOK = "02_schedules.ipynb"

# The curve p(t) in the page, as plotly drew it.
CURVE = """() => {
    const figure = document.querySelector('.coto-schedule .js-plotly-plot');
    return Array.from(figure._fullData.find(trace => trace.name === 'p(t)').y);
}"""


def number_field(explorer: Locator, label: str) -> Locator:
    return explorer.locator(".coto-number").filter(has=explorer.page.get_by_text(label, exact=True))


def wait_for_curve(page: Page, length: int, highest_step: int) -> None:
    """Until the curve has so many steps, and reaches 1 at that one first."""
    page.wait_for_function(
        f"(() => {{ const p = ({CURVE})(); return p.length === {length} && p.indexOf(1) === {highest_step}; }})()"
    )


def test_the_explorer_follows_keys_and_typing_and_can_be_reset(page: Page, run_all, assert_healthy) -> None:
    assert run_all(page, NOTEBOOK, timeout=300) == []
    assert_healthy(page)

    explorer = page.locator(".coto-schedule")
    wait_for_curve(page, 800, 600)
    ramp = number_field(explorer, "ramp")
    handle = ramp.locator(".noUi-handle")
    handle.focus()
    page.keyboard.press("ArrowRight")
    wait_for_curve(page, 800, 640)
    expect(ramp.locator("input")).to_have_value("0.8")
    expect(explorer.get_by_text("over 640 of 800 steps")).to_be_visible()

    steps = number_field(explorer, "steps")
    for typed, kept in (("5000", "800"), ("many", "800")):
        steps.locator("input").fill(typed)
        page.keyboard.press("Enter")
        expect(steps.get_by_text(f"‘{typed}’ was not taken: must be a number from 10 to 1000.")).to_be_visible()
        expect(steps.locator("input")).to_have_value(kept)
    wait_for_curve(page, 800, 640)
    steps.locator("input").fill("400")
    page.keyboard.press("Enter")
    wait_for_curve(page, 400, 320)
    expect(steps.get_by_text("was not taken")).to_have_count(0)

    explorer.locator(".widget-button", has_text="Reset").click()
    wait_for_curve(page, 800, 600)
    explorer.get_by_role("button", name="stochastic depth").click()
    expect(explorer.get_by_text("p is 0.5 in all 800 steps")).to_be_visible()
    assert set(page.evaluate(CURVE)) == {0.5}
    assert page.left_home == []  # type: ignore[attr-defined]
