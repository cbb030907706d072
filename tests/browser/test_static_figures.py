"""Figures that are no widgets keep their height and follow the page, whatever happens to it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, TimeoutError

CELLS = [
    "from coto_lab import Linear\n"
    "from coto_lab.figures import ramp_figure\n"
    "from coto_lab.notebook import setup\n"
    "setup(threads=1)",
    "ramp_figure({'CoTo': Linear()})",
    "ramp_figure({'CoTo': Linear()}).update_layout(height=333)",
]

# Of each static figure: how high and wide it is drawn, and how wide its place is.
SIZES = """() => Array.from(document.querySelectorAll('.jp-RenderedPlotly')).map(place => {
    const drawn = place.querySelector('.main-svg').getBoundingClientRect();
    return {height: Math.round(drawn.height), seen: Math.round(place.getBoundingClientRect().height),
            width: Math.round(drawn.width), place: place.clientWidth};
})"""
FITTING = (
    "heights => { const now = ("
    + SIZES
    + """)(); return now.length === heights.length && now.every((figure, i) =>
    figure.height === heights[i] && Math.abs(figure.seen - heights[i]) <= 20 &&
    Math.abs(figure.width - figure.place) <= 2); }"""
)


def test_figures_keep_their_height_when_the_page_changes(
    page: Page, run_all: Callable[..., list], write_notebook: Callable[..., str]
) -> None:
    page.set_viewport_size({"width": 1400, "height": 1000})
    assert run_all(page, write_notebook(CELLS)) == []

    def do(command: str, **options: object) -> None:
        page.evaluate("([name, options]) => window.jupyterapp.commands.execute(name, options)", [command, options])

    def keep(what: str) -> None:
        page.wait_for_timeout(1_500)  # what is wrong shows late
        try:
            page.wait_for_function(FITTING, arg=heights, timeout=20_000)
        except TimeoutError:
            pytest.fail(f"after {what}: {page.evaluate(SIZES)}, wanted heights {heights}")

    page.wait_for_function(f"({SIZES})().length === 2")
    heights = [360, 333]
    keep("running")
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        do("apputils:change-theme", theme=theme)
        keep(theme)
    for width in (1000, 1400):
        page.set_viewport_size({"width": width, "height": 1000})
        keep(f"a window of {width} px")
    do("filebrowser:hide-main")
    keep("the file browser shut")
    do("filebrowser:activate")
    keep("the file browser open")
