"""The notebook on interpolation in a real browser: the explorers are moved by keyboard, and what the page shows follows."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

NOTEBOOK = "04_interpolation.ipynb"

# Accuracy along the line, and where its mark stands, as the figure in the page has them.
SHOWN = """plot => {
    const trace = name => plot._fullData.find(trace => trace.name === name);
    return {curve: Array.from(trace('LoRA').y), x: trace('LoRA, here').x[0], y: trace('LoRA, here').y[0],
            line: plot.layout.shapes[0].x0, strip: Array.from(trace('what was read').text ?? [])};
}"""

# The widgets that the outputs show.
WIDGETS = """() => Array.from(window.jupyterapp.shell.currentWidget.content.model.cells)
    .flatMap(cell => cell.outputs?.toJSON() ?? [])
    .map(output => output.data?.['application/vnd.jupyter.widget-view+json']?.model_id).filter(Boolean)"""
OPEN_WIDGETS = "import ipywidgets\nprint('open:', *ipywidgets.widgets.widget._instances)"


def wait_for(view: Locator, words: str) -> Locator:
    """Until the sentence below the figure says so."""
    sentence = view.locator("[aria-live]").last  # before it, a line of what to enter
    expect(sentence).to_contain_text(words)
    return sentence


def test_the_explorers_follow_the_keyboard_and_change_with_the_kind_of_mixture(
    page: Page, run_all, add_and_run, assert_healthy
) -> None:
    assert run_all(page, NOTEBOOK) == []
    assert_healthy(page)
    add_and_run(page, OPEN_WIDGETS)
    said = page.locator(".jp-OutputArea-output pre", has_text="open: ").inner_text()
    shown = page.evaluate(WIDGETS)
    assert shown and set(shown) <= set(said.split()), "a closed one is an error when the notebook is opened again"

    view = page.locator(".coto-interpolation")
    plot = view.locator(".js-plotly-plot")
    wait_for(view, "At α = 0.5, fusion")
    middle = plot.evaluate(SHOWN)
    assert middle["x"] == middle["line"] == 0.5 and len(middle["curve"]) == 21 and middle["y"] == middle["curve"][10]
    view.locator(".noUi-handle").focus()
    page.keyboard.press("ArrowLeft")
    sentence = wait_for(view, "At α = 0.45, fusion")
    moved = plot.evaluate(SHOWN)
    assert moved["x"] == moved["line"] == 0.45 and moved["y"] == moved["curve"][9]
    assert f"LoRA {moved['y']:.1f}%" in sentence.inner_text()
    view.locator("input[type=text]").first.fill("0.333")
    page.keyboard.press("Enter")
    sentence = wait_for(view, "At α = 0.333, fusion")
    page.wait_for_timeout(1_000)  # the slider's answer, if there were one, would be here by then
    expect(sentence).to_contain_text("At α = 0.333, fusion")
    typed = plot.evaluate(SHOWN)
    assert typed["x"] == typed["line"] == 0.333 and len(typed["curve"]) == 22
    view.locator(".noUi-handle").focus()
    page.keyboard.press("Home")
    wait_for(view, "LoRA classifies 0 of them differently")
    assert plot.evaluate(SHOWN)["strip"] == [] and len(middle["strip"]) > 0

    view.get_by_role("button", name="ensemble").focus()
    page.keyboard.press("Space")
    expect(view.locator(".progress-bar")).to_be_visible()
    wait_for(view, "At α = 0, ensemble")
    expect(view.locator(".progress-bar")).to_be_hidden()
    averaged = plot.evaluate(SHOWN)["curve"]
    assert averaged[0] == middle["curve"][0] and averaged[10] > middle["curve"][10] + 5, "the valley is gone"
    view.get_by_role("button", name="fuse").click()
    wait_for(view, "At α = 0, fusion")
    assert plot.evaluate(SHOWN)["curve"] == middle["curve"]

    triangle = page.locator(".coto-simplex")
    wait_for(triangle, "At 2 : 2 : 2 sixths")
    triangle.locator(".noUi-handle").first.focus()
    page.keyboard.press("End")
    wait_for(triangle, "At 6 : 0 : 0 sixths")
    expect(triangle.get_by_text("The three shares make 6 sixths, so the second run")).to_be_visible()  # it gave way
    triangle.locator(".noUi-handle").nth(1).focus()
    page.keyboard.press("ArrowRight")
    wait_for(triangle, "At 5 : 1 : 0 sixths")
    assert page.left_home == []  # type: ignore[attr-defined]
