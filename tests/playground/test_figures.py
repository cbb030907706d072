"""The figures of the playground: their numbers are those of the shipped evidence, and a marked block is marked in all."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from coto_lab.studies.gallery import SWEPT, run_name

ROOT = Path(__file__).parents[2]
EVIDENCE = json.loads((ROOT / "data/evidence/evidence.json").read_text(encoding="utf-8"))
MASKS = json.loads((ROOT / "data/evidence/masks.json").read_text(encoding="utf-8"))
EXACT = pytest.approx
AS_WRITTEN = {"abs": 1e-4}  # evidence.json has four digits after the point
HEIGHTS = {"abs": 0.02}  # pixels
PART = 410


def right(method: str) -> np.ndarray:
    """Accuracy in %, ``[seeds, 256]``."""
    return np.array([MASKS["right"][run_name(method, seed)] for seed in range(5)]) * 100 / PART


def opened(place: int) -> int:
    return bin(place).count("1")


@pytest.fixture(scope="module")
def sheet(browser: Browser, site: str) -> Iterator[Page]:
    """One page for all tests: a new one takes half a second."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.goto(f"{site}/model/config.json")
    yield page
    page.close()


@pytest.fixture
def drawn(sheet: Page, site: str) -> Callable[..., Page]:
    """``drawn(ask=False)``: the figures alone, with a state that the test can change by ``store``."""

    def draw(**state: Any) -> Page:
        sheet.set_viewport_size({"width": 1280, "height": 1000})
        sheet.evaluate(_DRAW, [site, state])
        sheet.locator(".figure-plot svg").first.wait_for()
        return sheet

    return draw


_DRAW = """async ([site, state]) => {
    document.body.innerHTML = '<link rel="stylesheet" href="' + site + '/style.css"><main><div id="place"></div></main>';
    const [{ makeStore, FIRST }, { makeResources }, { mount }] = await Promise.all(
        ["store", "resources", "figures"].map((name) => import(`${site}/js/${name}.js`)));
    window.store = makeStore({ ...FIRST, ...state });
    await mount(document.querySelector("#place"), window.store, makeResources(`${site}/`));
}"""


def change(page: Page, **state: Any) -> None:
    page.evaluate("(state) => store.set(state)", state)


def numbers(marks: Locator, *names: str) -> list[list[float]]:
    """The data attributes of marks."""
    found: list[list[float]] = marks.evaluate_all(
        "(all, names) => all.map((m) => names.map((n) => Number(m.dataset[n])))", names
    )
    return found


def line(page: Page, figure: str, series: str) -> Locator:
    return page.locator(f'[data-figure={figure}] [data-series="{series}"] [data-mean]')


@pytest.mark.parametrize("method", SWEPT)
def test_the_line_between_seeds_has_the_evidences_numbers(drawn: Callable[..., Page], method: str) -> None:
    page = drawn(ask=False)
    fused = EVIDENCE["merging"]["scores"]
    scores = [column[method] for column in (EVIDENCE["accuracy"]["scores"], fused["1:2"], fused["1:1"])]
    scores += scores[1::-1]

    expected = [[score["mean"], score["mean"] - score["sd"], score["mean"] + score["sd"]] for score in scores]
    found = numbers(line(page, "interpolation", method), "mean", "low", "high")
    assert found == [EXACT(row) for row in expected]


def test_bars_of_pruning_have_the_evidences_numbers_and_heights(drawn: Callable[..., Page]) -> None:
    page = drawn(ask=False)
    columns = {"all adapters": EVIDENCE["accuracy"]["scores"], **EVIDENCE["pruning"]["scores"]}
    base = EVIDENCE["pruning"]["base"]
    heights = []
    for name, column in columns.items():
        bars = page.locator(f'[data-figure=pruning] [data-group="{name}"] [data-mean]')
        assert numbers(bars, "mean", "sd") == [[column[method]["mean"], column[method]["sd"]] for method in SWEPT]
        drawn_heights = bars.evaluate_all("(all) => all.map((bar) => bar.height.baseVal.value)")
        heights += zip(drawn_heights, (column[method]["mean"] - base for method in SWEPT), strict=True)
    unit = heights[0][0] / heights[0][1]
    assert [height for height, _ in heights] == EXACT([unit * gain for _, gain in heights], **HEIGHTS)
    assert page.locator("[data-level]").get_attribute("data-level") == str(base)


def test_bars_of_shapley_values_have_the_evidences_numbers_and_heights(drawn: Callable[..., Page]) -> None:
    page = drawn()
    found = numbers(page.locator("[data-figure=shapley] [data-mean]"), "mean", "sd")
    blocks = EVIDENCE["shapley"]["blocks"]
    assert found == [[blocks[method][i]["mean"], blocks[method][i]["sd"]] for i in range(8) for method in SWEPT]

    heights = page.locator("[data-figure=shapley] [data-mean]").evaluate_all("(all) => all.map((b) => b.height.baseVal.value)")
    unit = heights[0] / found[0][0]
    assert heights == EXACT([unit * mean for mean, _ in found], **HEIGHTS)


@pytest.mark.parametrize("method", SWEPT)
def test_the_stability_line_has_the_evidences_numbers(drawn: Callable[..., Page], method: str) -> None:
    page = drawn()
    found = numbers(line(page, "stability", method), "x", "mean", "low", "high")
    own = right(method)
    for x, mean, low, high in found:
        chosen = own[:, [opened(place) == x for place in range(256)]]
        assert [mean, low, high] == EXACT([chosen.mean(), chosen.min(1).mean(), chosen.max(1).mean()])
    assert [x for x, *_ in found] == list(range(9))
    known = EVIDENCE["stability"]["open"]
    assert found[4][1] == EXACT(known["mean mask"][method]["mean"], **AS_WRITTEN)
    assert found[4][2] == EXACT(known["worst mask"][method]["mean"], **AS_WRITTEN)

    ys = line(page, "stability", method).evaluate_all("(all) => all.map((m) => m.getBBox()).map((b) => b.y + b.height / 2)")
    unit = (ys[8] - ys[0]) / (found[8][1] - found[0][1])
    assert ys == EXACT([ys[0] + unit * (mean - found[0][1]) for _, mean, *_ in found], **HEIGHTS)


def test_the_switches_have_their_own_markers(drawn: Callable[..., Page]) -> None:
    page = drawn()
    change(page, open=[True, False, True, True, False, False, False, True])
    place = 0b10001101
    for method in SWEPT:
        [[mean, sd]] = numbers(page.locator(f"[data-here={method}]"), "mean", "sd")
        assert [mean, sd] == EXACT([right(method)[:, place].mean(), right(method)[:, place].std(ddof=1)])
    words = page.locator("[data-figure=stability] .figure-now").inner_text()
    assert "(4 of 8 blocks open)" in words
    assert f"CoTo {right('CoTo')[:, place].mean():.1f} ±" in words


def test_verdicts_and_tables_have_the_evidences_words(drawn: Callable[..., Page]) -> None:
    page = drawn(ask=False)
    digits, strings, docstrings = page.locator("[data-figure=shapley] .figure-verdict li").all_inner_texts()
    [claim] = [c for c in EVIDENCE["claims"] if "spread more evenly over the blocks (coefficient" in c["text"]]
    for words, leg in ((digits, "digits"), (strings, "strings"), (docstrings, "docstrings")):
        own = claim["legs"][leg]
        assert own["verdict"] in words
        assert f"{own['parts']['']['mean']:+.2f}".replace("-", "−") in words
    table = page.locator("[data-figure=pruning] table tbody tr", has_text="high third")
    assert table.locator("td").all_text_contents() == ["65.8 ± 3.5", "88.1 ± 1.9", "+22.4 [+19.9, +24.8]"]


# Linked


def test_a_block_that_is_touched_in_one_figure_is_marked_in_all(drawn: Callable[..., Page]) -> None:
    page = drawn(ask=False)
    page.locator("[data-figure=shapley] [data-block='3']").click()

    expect(page.locator(".mark-buttons [aria-pressed=true]")).to_have_text("3")
    expect(page.locator("[data-figure=shapley] .chart-marked")).to_have_count(1)
    expect(page.locator("[data-figure=pruning] .chart-marked")).to_have_count(1)
    pale = page.locator("[data-figure=pruning] .chart-bars.pale").evaluate_all("(all) => all.map((g) => g.dataset.group)")
    assert pale == ["every other", "low third", "high third"]
    expect(page.locator("[data-figure=stability] [data-series='LoRA, block 3 shut']")).to_have_count(1)
    expect(page.locator("[data-figure=interpolation] [data-series='CoTo, block 3 shut']")).to_have_count(1)
    for words in page.locator(".figure-now").all_inner_texts():
        assert "lock 3" in words

    page.locator("[data-figure=pruning] [data-block='3']").click()  # once more: no block is marked
    assert page.evaluate("store.get().marked") is None
    expect(page.locator(".chart-marked")).to_have_count(0)


def test_the_mark_lies_behind_the_words_of_the_axes(drawn: Callable[..., Page]) -> None:
    page = drawn(ask=False, chosen=2)
    for figure in ("shapley", "pruning"):
        order = page.locator(f"[data-figure={figure}] svg:has(.chart-marked)").evaluate(
            "(svg) => svg.querySelector('.chart-marked').compareDocumentPosition(svg.querySelector('.chart-grid'))"
        )
        assert order == 4, "the grid follows, so it is drawn over the mark"


def test_blocks_are_marked_by_keyboard(drawn: Callable[..., Page]) -> None:
    page = drawn()
    page.get_by_role("button", name="mark block 6").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".mark-said")).to_have_text("block 6 is marked")
    expect(page.get_by_role("button", name="mark block 6")).to_be_focused()
    worth = [f"{EVIDENCE['shapley']['blocks'][method][6]['mean']:.1f}" for method in SWEPT]
    expect(page.locator("[data-figure=shapley] .figure-now")).to_contain_text(f"LoRA {worth[0]} ±")
    expect(page.locator("[data-figure=shapley] .figure-now")).to_contain_text(f"CoTo {worth[1]} ±")


@pytest.mark.parametrize("block", [0, 5])
def test_what_a_shut_block_changes_between_seeds(drawn: Callable[..., Page], block: int) -> None:
    page = drawn(ask=False, chosen=block)
    for method in SWEPT:
        alone = (right(method)[:, 255 - 2**block] - right(method)[:, 255]).mean()
        pairs = (
            np.array([own for name, own in MASKS["fused"].items() if name.startswith(run_name(method, 0)[:-1])]) * 100 / PART
        )
        fused = (pairs[:, 1 + block] - pairs[:, 0]).mean()
        words = f"{method} {alone:.1f} points alone and {fused:.1f} fused 1:1".replace("-", "−")
        expect(page.locator("[data-figure=interpolation] .figure-now")).to_contain_text(words)


def test_the_place_between_seeds_is_drawn(drawn: Callable[..., Page]) -> None:
    page = drawn(ask=False)
    change(page, t=0.25)
    place = page.locator(".chart-place").bounding_box()
    ends = [line(page, "interpolation", "LoRA").nth(i).bounding_box() for i in (0, 4)]
    assert place is not None
    left, right_end = [box["x"] + box["width"] / 2 for box in ends if box is not None]
    assert place["x"] + place["width"] / 2 == EXACT(left + 0.25 * (right_end - left), abs=0.5)


# Read by everybody


def test_the_page_asks_before_it_shows(drawn: Callable[..., Page]) -> None:
    page = drawn()
    expect(page.locator("[data-figure=pruning] svg")).to_have_count(0)
    form = page.locator("[data-figure=pruning] form")
    form.get_by_role("slider", name="CoTo").fill("92")
    form.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("[data-figure=pruning] .figure-plot svg")).to_have_count(1)
    assert page.evaluate("store.get().score.asked") == 2
    expect(page.locator("[data-figure=interpolation] svg")).to_have_count(0)
    page.locator("[data-figure=interpolation] .skip-it").click()
    expect(page.locator("[data-figure=interpolation] .figure-plot svg")).to_have_count(1)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["Show", "Show without a guess"])
def test_an_answer_is_followed_by_the_chart_and_by_no_error(opened: Callable[..., Page], width: int, name: str) -> None:
    page = opened("#figures")
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("void addEventListener('error', ({ message }) => (window.noticed = message))")  # Playwright reports not all
    figure = page.locator("[data-figure=interpolation]")
    figure.get_by_role("slider", name="CoTo").fill("92")
    figure.get_by_role("button", name=name, exact=True).click()
    expect(figure.locator(".figure-plot svg")).to_have_count(1)
    page.evaluate("new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)))")
    page.set_viewport_size({"width": 1280, "height": 1000})
    assert page.evaluate("window.noticed") is None


def test_figures_say_on_how_many_images_they_are_measured(drawn: Callable[..., Page]) -> None:
    page = drawn(ask=False)
    for figure, images in {"interpolation": 1637, "pruning": 1637, "stability": PART, "shapley": PART}.items():
        expect(page.locator(f"[data-figure={figure}] .chart-label", has_text=f"{images} images")).to_have_count(1)
    base = right("LoRA")[:, 0].mean()
    words = f"Of these 410 images the base model, with no block open, reads {base:.1f}%; of all 1637 it reads 47.2%."
    expect(page.locator("[data-figure=stability] .figure-note")).to_contain_text(words)


def test_charts_have_titles_and_say_in_words_what_they_show(drawn: Callable[..., Page]) -> None:
    page = drawn(ask=False, chosen=2)
    charts = page.locator(".figure-plot svg")
    expect(charts).to_have_count(4)
    for chart in charts.all():
        name, words = (chart.get_attribute("aria-labelledby") or "").split()
        assert "LoRA and CoTo" in page.locator(f"#{name}").text_content()  # type: ignore[operator]
        assert "block 2" in page.locator(f"#{words}").text_content().lower()  # type: ignore[union-attr]
    identifiers = page.evaluate("Array.from(document.querySelectorAll('[id]'), (element) => element.id)")
    assert len(set(identifiers)) == len(identifiers)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_fit_a_phone(drawn: Callable[..., Page], theme: Any) -> None:
    page = drawn(ask=False)
    page.set_viewport_size({"width": 360, "height": 740})
    page.emulate_media(color_scheme=theme)
    page.wait_for_function(
        "Array.from(document.querySelectorAll('.figure-plot svg')).every((s) => s.getAttribute('width') < 340)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    colors = page.locator("[data-figure=stability] text").first.evaluate("(text) => getComputedStyle(text).fill")
    assert colors == {"light": "rgb(89, 96, 107)", "dark": "rgb(166, 171, 180)"}[theme]
    overlapping = page.locator("[data-figure=pruning] .chart-pattern").evaluate_all(_OVERLAPS)
    assert overlapping == []


_OVERLAPS = """(groups) => {
    const lines = [0, 1].map((i) => groups.map((group) => group.querySelectorAll("text")[i]).filter(Boolean));
    const boxes = lines.map((texts) => texts.map((text) => [text.textContent, text.getBoundingClientRect()]));
    return boxes.flatMap((row) => row.slice(1).filter(([, box], i) => box.left < row[i][1].right).map(([word]) => word));
}"""


def test_a_failed_fetch_can_be_tried_again(page: Page, site: str) -> None:
    page.route("**/figures.json", lambda route: route.abort())
    page.goto(f"{site}/model/config.json")
    page.evaluate("([draw, argument]) => void eval(`(${draw})`)(argument)", [_DRAW, [site, {}]])
    expect(page.get_by_role("alert")).to_contain_text("Loading the figures did not work")
    page.unroute("**/figures.json")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("[data-figure=shapley] .figure-plot svg")).to_have_count(1)
