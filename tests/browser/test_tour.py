"""The tour in a real browser, from the first cell to the last."""

from __future__ import annotations

from playwright.sync_api import Page

TOUR = "00_tour.ipynb"

# For each plotly figure in the page, how many values each of its traces shows.
TRACE_SIZES = """() => Array.from(document.querySelectorAll('.js-plotly-plot')).map(figure =>
    figure._fullData.map(trace => (trace.y ?? trace.z ?? trace.x ?? trace.values ?? []).length))"""

# What is wrong with the toolbars: buttons that would send a chart somewhere, by what they say or by how they are set up.
UPLOADS = """() => Array.from(document.querySelectorAll('.js-plotly-plot')).flatMap(figure => {
    const said = Array.from(figure.querySelectorAll('.modebar-btn'))
        .map(button => button.getAttribute('data-title') ?? button.getAttribute('aria-label') ?? '')
        .filter(title => /cloud|studio|upload|share/i.test(title));
    const {showSendToCloud, showEditInChartStudio} = figure._context;
    return [...said, ...(showSendToCloud || showEditInChartStudio ? ['a setting that allows it'] : [])];
})"""


def test_tour_runs_from_top_to_bottom(page: Page, run_all) -> None:
    assert run_all(page, TOUR, timeout=300) == []

    page.wait_for_selector(".js-plotly-plot .main-svg", timeout=30_000)
    sizes = page.evaluate(TRACE_SIZES)
    assert sizes, "no plotly figure in the page"
    for i, traces in enumerate(sizes):
        assert traces, f"figure {i} of {len(sizes)} has no traces"
        assert max(traces) > 0, f"figure {i} of {len(sizes)} has {len(traces)} traces and no data"

    assert page.evaluate(UPLOADS) == []
    assert page.left_home == []


def test_stop_ends_the_training_within_a_second_and_the_tour_goes_on(page: Page, run_all) -> None:
    def press_stop(page: Page) -> None:
        live = page.locator(".coto-live")
        live.get_by_text("Training: step").wait_for(timeout=120_000)
        live.get_by_role("button", name="Stop").click()
        live.get_by_text("Stopped: step").wait_for(timeout=1_000)

    assert run_all(page, TOUR, timeout=300, meanwhile=press_stop) == []
