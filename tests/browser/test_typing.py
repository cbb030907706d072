"""Every kind of field in a real browser: what is typed is taken as typed, also after the slider has answered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

# A field tells what its value is in the kernel; "set" gives it one from there. "echo" is counted in the kernel, and shown.
FIELDS = """
import ipywidgets as widgets
from coto_lab.widgets.field import NumberField
from coto_lab.widgets.message import Message

fields = [
    NumberField("share", 0.5, 0, 1, 0.05),
    NumberField("steps", 800, 10, 5000, 10, whole=True, unit="steps"),
    NumberField("rate", 0.01, 1e-4, 1e-1, 0.05, log=True),
    NumberField("percent", 50.0, 0, 100, 1, unit="%"),
]
told = {field.label: widgets.Label(repr(field.value)) for field in fields}
for field in fields:
    told[field.label].add_class(f"told-{field.label}")
    field.observe(lambda change: setattr(told[change["owner"].label], "value", repr(change["new"])), "value")
to_set = widgets.Button(description="set")
to_set.on_click(lambda _: [setattr(field, "value", new) for field, new in zip(fields, (0.123, 77, 0.03, 12.34))])
to_echo, echoes = widgets.Button(description="echo"), widgets.Label("0")
echoes.add_class("echoes")
to_echo.on_click(lambda _: setattr(echoes, "value", str(int(echoes.value) + 1)))
widgets.VBox([*fields, Message([*fields, to_set]), to_set, to_echo, echoes, widgets.HBox(list(told.values()))])
"""

GUESS = """
from coto_lab.figures import pruning_figure
from coto_lab.probes.pruning import PruningTable
from coto_lab.widgets import Prediction
import torch
from coto_lab.notebook import setup

setup(threads=1)
tables = {
    name: PruningTable(("all", "every other", "none"), torch.tensor([1, 0.5, 0]), torch.tensor(values), torch.zeros(3))
    for name, values in {"LoRA": (0.95, 0.60, 0.47), "CoTo": (0.96, 0.90, 0.47)}.items()
}
prediction = Prediction("Accuracy?")
prediction
"""

REVEAL = """
prediction.reveal(lambda guesses: pruning_figure(tables, guesses), {"LoRA": 60.0, "CoTo": 90.0})
"""

# The middle of each cross and the left and right end of each bar at the second place, in pixels: LoRA, CoTo.
PLACES = """plot => {
    const box = element => element.getBoundingClientRect();
    const traces = Array.from(plot.querySelectorAll('.barlayer .trace.bars'));
    const bars = traces.map(trace => box(trace.querySelectorAll('.point')[1]));
    const crosses = Array.from(plot.querySelectorAll('.trace.scatter .point')).map(box);
    return {bars: bars.map(bar => [bar.left, bar.right]), crosses: crosses.map(cross => (cross.left + cross.right) / 2)};
}"""


@pytest.fixture
def run_cells(write_notebook: Callable[..., str], run_all: Callable[..., list[dict[str, Any]]]) -> Callable[..., None]:
    """``run_cells(page, *sources)`` runs these cells in a notebook."""

    def run(page: Page, *sources: str) -> None:
        assert run_all(page, write_notebook(source.strip() for source in sources)) == []

    return run


def field(page: Page, label: str) -> Locator:
    return page.locator(".coto-number").filter(has=page.get_by_text(label, exact=True))


def enter(page: Page, label: str, typed: str) -> None:
    field(page, label).locator("input").fill(typed)
    page.keyboard.press("Enter")


def test_numbers_are_taken_as_typed_and_problems_are_told_in_one_place(page: Page, run_cells: Callable[..., None]) -> None:
    run_cells(page, FIELDS)
    told = lambda label: page.locator(f".told-{label}")  # noqa: E731
    echoes = page.locator(".echoes")

    def settled(numbers: dict[str, str]) -> None:
        """Kernel and page say these numbers, and go on doing so."""
        for again in range(2):
            for label, number in numbers.items():
                expect(told(label)).to_have_text(number)
                expect(field(page, label).locator("input")).to_have_value(number.removesuffix(".0"))
            for _ in range(3 * (1 - again)):  # the slider's answer, if there were one, would overtake none of them
                echoed = int(echoes.inner_text())
                page.get_by_role("button", name="echo").click()
                expect(echoes).to_have_text(str(echoed + 1))

    settled({"share": "0.5", "steps": "800", "rate": "0.01", "percent": "50.0"})
    for numbers in (
        {"share": "0.333", "steps": "123", "rate": "0.04", "percent": "93.5"},
        {"share": "0.33", "steps": "1100", "rate": "0.02", "percent": "12.75"},
        {"share": "0.999", "steps": "11", "rate": "0.025", "percent": "0.4"},
    ):
        for label, number in numbers.items():
            enter(page, label, number)
        settled(numbers)
    page.get_by_role("button", name="set").click()
    settled({"share": "0.123", "steps": "77", "rate": "0.03", "percent": "12.34"})

    handle = field(page, "rate").locator(".noUi-handle")
    handle.press("ArrowRight")  # from the place nearest to 0.03, which is 10^-1.5
    settled({"rate": "0.03548", "share": "0.123"})
    handle.press("ArrowLeft")
    settled({"rate": "0.03162"})

    heights = lambda: page.evaluate("document.querySelector('.coto-message').parentElement.clientHeight")  # noqa: E731
    before, problem = heights(), page.locator(".coto-message")
    for label, typed, words in (
        ("rate", "5", "rate: Enter a number from 0.0001 to 0.1."),
        ("steps", "12.5", "steps: Enter a whole number from 10 to 5000."),
        ("share", "half", "share: Enter a number from 0 to 1."),
    ):
        enter(page, label, typed)
        expect(problem).to_have_text(words)
        expect(field(page, label).locator("input")).to_have_value(typed)
        assert heights() == before
    expect(field(page, "steps").locator("input")).to_have_value("77")  # it ended when the next field was used
    enter(page, "share", "0.123")  # right again: the number that was in use all the time
    expect(problem).to_have_text("")
    enter(page, "share", "many")
    field(page, "percent").locator(".noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    expect(problem).to_have_text("")
    settled({"share": "0.123", "percent": "13.0"})
    assert page.left_home == []  # type: ignore[attr-defined]


def test_a_guess_is_drawn_onto_its_bar_in_a_figure_that_is_shown_already(page: Page, run_cells: Callable[..., None]) -> None:
    run_cells(page, GUESS, REVEAL)
    plot = page.locator(".js-plotly-plot")
    expect(plot).to_have_count(1)
    assert plot.evaluate(PLACES)["crosses"] == []
    enter(page, "LoRA", "71.5")
    enter(page, "CoTo", "88")
    page.get_by_role("button", name="Record my guess").click()
    expect(page.get_by_text("Your guess for LoRA, 71.5%, is 11.5 points too high: the answer is 60.0%.")).to_be_visible()
    page.wait_for_function("document.querySelectorAll('.js-plotly-plot .trace.scatter .point').length === 2")
    expect(plot).to_have_count(1)
    expect(plot).to_be_visible()  # with a height, that is
    places = plot.evaluate(PLACES)
    for (left, right), cross in zip(places["bars"], places["crosses"], strict=True):
        assert left < cross < right, places
    expect(page.get_by_role("button", name="Record my guess")).to_be_disabled()
