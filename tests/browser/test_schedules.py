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
    assert run_all(page, NOTEBOOK) == []
    assert_healthy(page)

    explorer = page.locator(".coto-schedule")
    wait_for_curve(page, 800, 600)
    ramp = number_field(explorer, "ramp")
    handle = ramp.locator(".noUi-handle")
    handle.focus()
    page.keyboard.press("ArrowRight")
    wait_for_curve(page, 800, 640)
    expect(ramp.locator("input")).to_have_value("0.8")
    expect(explorer.get_by_text("over the first 640 of 800 steps")).to_be_visible()

    def enter(label: str, typed: str) -> None:
        number_field(explorer, label).locator("input").fill(typed)
        page.keyboard.press("Enter")

    message = explorer.locator(".coto-message")
    for typed in ("5001", "many"):
        enter("steps", typed)
        expect(message).to_have_text("steps: Enter a whole number from 10 to 5000.")
    wait_for_curve(page, 800, 640)
    enter("steps", "1100")  # what the notebook suggests
    wait_for_curve(page, 1100, 880)
    expect(message).to_have_text("")
    enter("steps", "5000")
    wait_for_curve(page, 5000, 4000)
    enter("steps", "123")
    wait_for_curve(page, 123, 99)
    expect(number_field(explorer, "steps").locator("input")).to_have_value("123")
    enter("end", "0.4")
    expect(explorer.get_by_text("p rises from 0 to 0.4")).to_be_visible()
    enter("start", "0.7")
    expect(message).to_have_text("start: Enter a number from 0 to 0.4; p ends at 0.4.")
    expect(explorer.get_by_text("p rises from 0 to 0.4")).to_be_visible()

    explorer.locator(".widget-button", has_text="Reset").click()
    wait_for_curve(page, 800, 600)
    expect(message).to_have_text("")
    explorer.get_by_role("button", name="stochastic depth").click()
    expect(explorer.get_by_text("p is 0.5 in all 800 steps")).to_be_visible()
    assert set(page.evaluate(CURVE)) == {0.5}
    assert page.left_home == []  # type: ignore[attr-defined]
