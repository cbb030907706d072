"""What a reader sees before doing anything: words, a menu, links to notebooks; nothing jumps, is cut off, or is too faint."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from playwright.sync_api import Page, expect

READINGS = "[data-part=readings]"
SOON = 20_000  # milliseconds; this only ends a test that would fail anyway
DESK: Any = {"width": 1280, "height": 1000}


# The page as it comes


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)])
def test_nothing_jumps_while_the_page_comes(page: Page, site: str, width: int, height: int) -> None:
    """Each part has its room before it is there. 0.1 is where Web Vitals begins to call a shift of the layout noticeable."""
    page.set_viewport_size({"width": width, "height": height})
    page.add_init_script("""window.shifted = 0;
        new PerformanceObserver((list) => list.getEntries().forEach((entry) => (window.shifted += entry.value)))
          .observe({ type: "layout-shift", buffered: true });""")
    page.goto(f"{site}/index.html")
    expect(page.locator(".switches button")).to_have_count(8, timeout=SOON)
    expect(page.locator(f"{READINGS} .waiting")).to_have_count(0, timeout=SOON)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert page.evaluate("window.shifted") < 0.1


def test_introduction_explains_its_words(opened: Callable[..., Page]) -> None:
    page = opened()
    assert page.locator(".intro dt").all_inner_texts() == ["Block", "Adapter", "LoRA"]
    targets = page.locator(".intro .start a").evaluate_all("all => all.map((one) => one.hash)")
    assert targets == ["#draw", "#blocks", "#measure"]


@pytest.mark.parametrize("width", [1280, 700, 390, 360])
def test_menu_is_whole(opened: Callable[..., Page], width: int) -> None:
    page = opened()
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate("localStorage.setItem('coto-lab-score', '10 of 12')")
    page.reload()
    expect(page.locator("[data-part=score]")).to_contain_text("10 of 12")
    cut = page.locator("nav").evaluate("""(nav) => [...nav.children].filter((link) => {
        const [own, room] = [link.getBoundingClientRect(), nav.getBoundingClientRect()];
        return own.left < room.left - 1 || own.right > room.right + 1 || own.bottom > room.bottom + 1;
    }).map((link) => link.textContent)""")
    assert cut == []
    header = page.locator("header")
    if header.evaluate("one => getComputedStyle(one).position") == "sticky":
        bar = page.evaluate("parseFloat(getComputedStyle(document.documentElement).scrollPaddingTop)")
        assert header.bounding_box()["height"] <= bar  # type: ignore[index]
    page.set_viewport_size(DESK)


@pytest.mark.parametrize("width", [1280, 360])
def test_digits_below_the_bars_are_readable(opened: Callable[..., Page], width: int) -> None:
    page = opened()
    page.set_viewport_size({"width": width, "height": 800})
    digits = page.locator(".reading.coto li b")
    assert min(digits.evaluate_all("all => all.map((one) => parseFloat(getComputedStyle(one).fontSize))")) >= 14
    edges = digits.evaluate_all("""all => all.map((one) => {
        const range = document.createRange();
        range.selectNodeContents(one);
        const { left, right } = range.getBoundingClientRect();
        return [left, right];
    })""")
    assert all(right <= left + 0.5 for (_, right), (left, _) in pairwise(edges)), "they do not overlap"
    card = page.locator(".reading.coto").bounding_box()
    assert card is not None and card["x"] < edges[0][0] and edges[-1][1] < card["x"] + card["width"]
    page.set_viewport_size(DESK)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_mark_is_seen_and_its_text_is_read(opened: Callable[..., Page], scheme: Any) -> None:
    page = opened()
    page.emulate_media(color_scheme=scheme)
    page.get_by_role("switch", name="Block 5").focus()
    mark, ink, edge, card = page.evaluate("""() => {
        const marked = getComputedStyle(document.querySelector(".switches .marked"));
        const card = getComputedStyle(document.querySelector("#blocks")).backgroundColor;
        return [marked.backgroundColor, marked.color, marked.borderTopColor, card];
    }""")
    assert contrast(mark, ink) >= 4.5
    assert contrast(edge, card) >= 3
    if scheme == "dark":
        assert contrast(mark, card) >= 2
    page.emulate_media(color_scheme="light")


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, as WCAG defines it."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", color)[:3])
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in (red, green, blue)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# The pad


def test_keys_of_the_pad_are_written_below_it(opened: Callable[..., Page]) -> None:
    page = opened()
    keys = page.locator(".coto-pad-help")
    expect(keys).to_be_hidden()
    page.locator(".coto-pad-paper").focus()
    page.keyboard.press("ArrowUp")
    expect(keys).to_be_visible()
    expect(keys).to_contain_text("arrow keys move the pen")


def test_buttons_of_the_pad_bring_their_own_look(run_js: Callable[..., Any]) -> None:
    """In a notebook no style sheet of the page is there. The letters have the colour of the text around them."""
    looks = run_js("""const place = document.body.appendChild(document.createElement("div"));
        place.style.color = "rgb(1, 2, 3)";
        (await load("pad.js")).mountPad(place, () => {});
        const looks = Array.from(place.querySelectorAll("button"), (one) => {
            const { color, borderTopStyle } = getComputedStyle(one);
            return [one.getBoundingClientRect().height, color, borderTopStyle];
        });
        place.remove();
        return looks;""")
    assert len(looks) == 2
    for height, color, border in looks:
        assert height >= 32 and color == "rgb(1, 2, 3)" and border == "solid"


# Notebooks


def test_lines_for_jupyterlab_are_folded_and_can_be_copied(opened: Callable[..., Page]) -> None:
    page = opened()
    box = page.locator("#schedule .open-in details")
    button = box.get_by_role("button", name="Copy the lines")
    expect(button).to_be_hidden()
    summary = box.locator("summary")
    assert summary.evaluate("one => getComputedStyle(one).textDecorationLine") == "none", "it is no link"
    summary.click()
    expect(box).to_contain_text("You need git, make and Python 3.11 to 3.13.")
    page.evaluate("() => { navigator.clipboard.writeText = async (text) => { window.copied = text } }")
    button.click()
    expect(box.locator(".copied")).to_have_text("Copied.")
    lines = page.evaluate("window.copied").splitlines()
    assert [line.split()[0] for line in lines] == ["git", "cd", "make"] and lines[-1] == "make lab NOTEBOOK=02_schedules"

    page.evaluate("() => { navigator.clipboard.writeText = async () => { throw new Error('refused') } }")
    button.click()
    expect(box.locator(".copied")).to_contain_text("The lines are selected")
    assert page.evaluate("getSelection().toString().trim()").splitlines() == lines


def test_each_figure_and_the_list_lead_to_notebooks(opened: Callable[..., Page]) -> None:
    page = opened()
    links = page.locator("#figures .open-in a[href*=colab]").evaluate_all("all => all.map((one) => one.href.slice(-30))")
    assert [re.findall(r"\d\d_", link)[0] for link in links] == ["04_", "05_", "07_"]
    page.locator("#notebooks summary").click()
    expect(page.locator("#notebooks pre")).to_contain_text("make lab")
