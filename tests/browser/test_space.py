"""Views and figures fit into the page: beside a file browser that opens, in a narrow window, on a laptop, on dark paper."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, TimeoutError

CELLS = {
    "": """
from coto_lab import Linear, Recipe, load_task
from coto_lab.figures import ramp_figure
from coto_lab.studies.gallery import load_run
from coto_lab.notebook import setup
from coto_lab.widgets import InterpolationExplorer, LiveTraining, ScheduleExplorer, SimplexExplorer, Switchboard
here = setup(threads=1)
task = load_task("digits")
first, second, third = ({name: load_run(f"{name.lower()}-seed{seed}") for name in ("LoRA", "CoTo")} for seed in range(3))
""",
    "ramp": "ramp_figure({'CoTo': Linear()})",
    "coto-schedule": "ScheduleExplorer()",
    "coto-switchboard": "Switchboard(task, first, images=20)",
    "coto-interpolation": "InterpolationExplorer(task, second, first, images=10)",
    "coto-simplex": "SimplexExplorer(task, {name: [second[name], third[name]] for name in first}, first, images=10)",
    "coto-live": "LiveTraining(task, {'LoRA': Recipe(steps=9), 'CoTo': Recipe(steps=9, schedule=Linear())})",
}
VIEWS = [name for name in CELLS if name.startswith("coto-")]

# Of each view: how wide its place is, how wide its figure is drawn, and how high controls and figure are together.
SIZES = """kinds => Object.fromEntries(kinds.map(kind => {
    const view = document.querySelector(`.${kind}`), figure = view.querySelector('.js-plotly-plot');
    const place = view.querySelector('.coto-figure').clientWidth, drawn = figure._fullLayout?.width ?? 0;
    const height = figure.getBoundingClientRect().bottom - view.getBoundingClientRect().top;
    return [kind, {place, drawn, height}];
}))"""
FILLED = "kinds => Object.values((" + SIZES + ")(kinds)).every(({place, drawn}) => Math.abs(drawn - Math.max(place, 640)) <= 2)"

# Buttons whose words are cut off, and fields that stick out of their view or lie on one another.
CRAMPED = """kinds => kinds.flatMap(kind => {
    const view = document.querySelector(`.${kind}`), right = view.getBoundingClientRect().right + 1;
    const seen = element => element.getClientRects().length > 0;
    const buttons = Array.from(view.querySelectorAll('button')).filter(seen);
    const fields = Array.from(view.querySelectorAll('.coto-number input')).filter(seen).map(e => e.getBoundingClientRect());
    const on = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    const sliders = Array.from(view.querySelectorAll('.noUi-target')).filter(seen).map(e => e.getBoundingClientRect());
    return [
        ...buttons.filter(button => button.scrollWidth > button.clientWidth + 1).map(button => `${kind}: ${button.innerText}`),
        ...fields.filter(field => field.right > right).map(() => `${kind}: a field sticks out`),
        ...fields.filter(field => sliders.some(slider => on(field, slider))).map(() => `${kind}: a field on a slider`),
    ];
})"""

# Colours of the paper and of the first word of a figure.
COLOURS = """kind => {
    const figure = document.querySelector(kind === 'ramp' ? '.jp-RenderedPlotly' : `.${kind} .js-plotly-plot`);
    const style = selector => getComputedStyle(figure.querySelector(selector));
    return [style('.main-svg').backgroundColor, style('.xtick text').fill];
}"""


def wait_until_filled(page: Page) -> None:
    """Until every figure is drawn as wide as its place, or as the least width."""
    try:
        page.wait_for_function(FILLED, arg=VIEWS)
    except TimeoutError:
        pytest.fail(f"figures do not fill their places: {page.evaluate(SIZES, VIEWS)}")


def execute(page: Page, command: str, arguments: dict[str, Any] | None = None) -> None:
    page.evaluate("([name, given]) => window.jupyterapp.commands.execute(name, given)", [command, arguments or {}])


def test_views_fit_into_the_page(page: Page, run_all: Callable[..., list], write_notebook: Callable[..., str]) -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    assert run_all(page, write_notebook(CELLS.values())) == []
    wait_until_filled(page)
    open_sizes = page.evaluate(SIZES, VIEWS)
    room = page.evaluate("() => document.querySelector('.jp-WindowedPanel-outer').clientHeight")
    assert {kind: size["height"] for kind, size in open_sizes.items() if size["height"] > room} == {}
    assert page.evaluate(CRAMPED, VIEWS) == []

    execute(page, "application:toggle-left-area")  # shuts the file browser
    page.wait_for_function("wide => document.querySelector('.coto-live .coto-figure').clientWidth > wide + 100",
                           arg=open_sizes["coto-live"]["place"])  # fmt: skip
    wait_until_filled(page)
    execute(page, "application:toggle-left-area")
    wait_until_filled(page)
    assert page.evaluate(SIZES, VIEWS) == open_sizes

    page.set_viewport_size({"width": 800, "height": 900})
    page.wait_for_function("() => document.querySelector('.coto-live .coto-figure').clientWidth < 500")
    wait_until_filled(page)
    assert page.evaluate(CRAMPED, VIEWS) == []

    light = {kind: page.evaluate(COLOURS, kind) for kind in ("ramp", "coto-live")}
    execute(page, "apputils:change-theme", {"theme": "JupyterLab Dark"})
    page.wait_for_function("() => document.body.dataset.jpThemeLight === 'false'")
    page.wait_for_function("([find, before]) => eval(find)('ramp')[1] !== before", arg=[COLOURS, light["ramp"][1]])
    for kind, (paper, words) in light.items():
        dark_paper, dark_words = page.evaluate(COLOURS, kind)
        assert paper == dark_paper == "rgba(0, 0, 0, 0)"
        assert words.startswith("rgba(0, 0, 0") and dark_words.startswith("rgba(255, 255, 255")
    execute(page, "apputils:change-theme", {"theme": "JupyterLab Light"})  # the next test is in the same page
    page.wait_for_function("() => document.body.dataset.jpThemeLight === 'true'")
