"""The playground's page, in a real browser: what a reader does, and what the page says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from pad_by_mouse import counts, draw
from playwright.sync_api import Browser, Page, expect

ROOT = Path(__file__).parents[2]
SEVEN: list[tuple[float, float]] = [(8, 6), (24, 6), (15, 28)]  # corners of the line, in cells of the pad
IMAGE = "09gggg900588ag9000009g200000fd000005g600000bg100002ga000003g4000"
READINGS = "[data-part=readings]"
SOON = 20_000  # milliseconds; this only ends a test that would fail anyway


def best(page: Page) -> dict[str, str]:
    """The best digit of each model, as the cards show it."""
    return {method: page.locator(f".reading.{method} output").inner_text() for method in ("base", "lora", "coto")}


# Drawing and reading


def test_drawn_seven_is_read(opened: Callable[..., Page]) -> None:
    page = opened()
    expect(page.locator(".verdict")).to_contain_text("Draw a digit")
    draw(page, SEVEN)
    for method in ("base", "lora", "coto"):
        expect(page.locator(f".reading.{method} output")).to_have_text("7", timeout=SOON)
    expect(page.locator(f"{READINGS} [aria-live]")).to_contain_text("CoTo reads 7", timeout=SOON)
    for method in ("base", "lora", "coto"):
        heights = page.locator(f".reading.{method} .tube i").evaluate_all(
            "bars => bars.map(bar => parseFloat(bar.style.height))"
        )
        assert len(heights) == 10 and abs(sum(heights) - 100) < 1, "the certainties of ten digits"
    expect(page.locator(READINGS)).to_contain_text("One drawing proves little: with all blocks on, LoRA and CoTo read about")

    page.get_by_role("button", name="Clear").click()
    expect(page.locator(".verdict")).to_contain_text("Draw a digit")
    assert counts(page) == []


def test_ink_is_counted_as_in_the_data_set(opened: Callable[..., Page]) -> None:
    """A small digit in a corner and a large one give the same numbers; all rows have ink, and about as much of it as there."""
    page = opened()
    draw(page, SEVEN)
    large = counts(page)
    page.get_by_role("button", name="Clear").click()
    draw(page, [(x / 3, y / 3) for x, y in SEVEN])
    small = counts(page)
    assert max(large) == 16 and 280 < sum(large) < 345
    assert sum(abs(one - other) for one, other in zip(large, small, strict=True)) < 40
    assert all(sum(large[8 * row : 8 * row + 8]) for row in range(8))
    page.get_by_role("button", name="Undo").click()
    assert counts(page) == []


def test_keyboard_draws(opened: Callable[..., Page]) -> None:
    page = opened()
    page.locator(".coto-pad-paper").focus()
    for key in ["Shift+ArrowUp"] * 2 + ["ArrowUp"] * 2 + [" "] + ["Shift+ArrowDown"] * 5 + [" "]:
        page.keyboard.press(key)
    expect(page.locator(".coto-pad-said")).to_have_text("Pen up, column 16, row 26")
    expect(page.locator(".reading.coto output")).to_have_text("1", timeout=SOON)
    page.keyboard.press("Backspace")
    expect(page.locator(".verdict")).to_contain_text("Draw a digit")


def test_finger_draws_and_does_not_scroll(browser: Browser, site: str) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{site}/index.html")
    pad = page.locator(".coto-pad-paper")
    pad.scroll_into_view_if_needed()
    box, scrolled = pad.bounding_box(), page.evaluate("scrollY")
    assert box is not None
    finger = context.new_cdp_session(page)
    places = [
        (x, y) for (a, b), (c, d) in pairwise(SEVEN) for x, y in [(a + (c - a) * i / 8, b + (d - b) * i / 8) for i in range(9)]
    ]
    for i, (x, y) in enumerate(places):
        point = {"x": box["x"] + x * box["width"] / 32, "y": box["y"] + y * box["height"] / 32}
        finger.send("Input.dispatchTouchEvent", {"type": "touchMove" if i else "touchStart", "touchPoints": [point]})
    finger.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator(".reading.coto output")).to_have_text("7", timeout=SOON)
    assert page.locator(".coto-pad-ink polyline").count() == 1
    assert page.evaluate("scrollY") == scrolled
    context.close()


def test_scribble_is_not_read_with_certainty(opened: Callable[..., Page]) -> None:
    page = opened()
    draw(page, [(6, 9), (27, 20), (4, 16), (7, 25), (14, 5)])
    verdict = page.locator(".verdict")
    expect(verdict).to_contain_text("No reading is sure", timeout=SOON)
    expect(verdict).to_contain_text("must name one of the ten digits")
    assert page.locator(".reading.unsure").count() == 3


ZIGZAG: list[tuple[float, float]] = [(26 if row % 2 else 6, row) for row in range(4, 28)]


@pytest.mark.parametrize(("line", "word"), [([(16, 16)], "almost no height"), (ZIGZAG, "more ink than any")])
def test_what_is_hardly_a_digit_is_called_so(opened: Callable[..., Page], line: list[tuple[float, float]], word: str) -> None:
    page = opened()
    draw(page, line, steps=1)
    expect(page.locator(".verdict")).to_have_text(
        re.compile(f"^This is hardly a digit: it has {word}.* must name one of the ten digits"), timeout=SOON
    )
    page.get_by_role("button", name="Clear").click()
    draw(page, SEVEN)
    expect(page.locator(".verdict")).to_have_text(re.compile("^The models must name"), timeout=SOON)


def test_no_test_image_is_called_hardly_a_digit(run_js: Callable[..., Any]) -> None:
    odd = run_js("""const { countsOf, oddity } = await load("images.js");
        return (await json("images.json")).images.filter((image) => oddity(countsOf(image)))""")
    assert odd == []


def test_they_agree_where_nothing_is_open(opened: Callable[..., Page]) -> None:
    page = opened(f"#image={IMAGE}&open=00000000")
    expect(page.locator(".reading.coto output")).to_have_text("7", timeout=SOON)
    hows = page.locator(".reading .how").all_inner_texts()
    assert len(set(hows)) == 1, "without adapters, all three are the base"


# What can go wrong, and where the page is seen


def test_reader_can_try_again(page: Page, site: str) -> None:
    page.goto(f"{site}/index.html")
    expect(page.locator(f"{READINGS} .waiting")).to_have_count(0, timeout=SOON)
    page.context.set_offline(True)
    page.get_by_role("button", name="A test image").click()
    alert = page.locator("[data-part=samples] [role=alert]")
    expect(alert).to_contain_text("images.json did not arrive", timeout=SOON)
    page.context.set_offline(False)
    alert.get_by_role("button", name="Try again").click()
    expect(page.locator("[data-part=guess] form")).to_be_visible(timeout=SOON)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_phone(browser: Browser, site: str, scheme: Any) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme, has_touch=True)
    page = context.new_page()
    page.goto(f"{site}/index.html#image={IMAGE}&seeds=34&t=0.5&open=10101010")
    page.locator("#notebooks").scroll_into_view_if_needed()
    expect(page.locator("[data-figure] svg").first).to_be_visible(timeout=SOON)
    expect(page.locator(".strip b")).to_have_count(3, timeout=SOON)
    for more in page.locator("summary").all():
        more.click()
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(21, 23, 27)") == (scheme == "dark")
    page.get_by_label("Colours").select_option("light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(250, 249, 246)"
    page.reload()
    expect(page.get_by_label("Colours")).to_have_value("light")
    context.close()


def test_strip_shows_the_readings_and_never_lies_on_the_pad(page: Page, site: str) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    page.goto(f"{site}/index.html#test=72")  # the base is not sure, and not right
    page.add_style_tag(content="html { scroll-behavior: auto !important }")
    strip, first = page.locator(".strip"), page.locator(".reading output").first
    page.get_by_role("button", name="Show without a guess").click()
    expect(first).to_have_text(re.compile(r"\d"), timeout=SOON)
    expect(strip).to_be_hidden()
    page.evaluate("scrollTo(0, document.querySelector('.cards').getBoundingClientRect().bottom + scrollY - 60)")
    expect(strip).to_be_visible()  # 12 pixels of the cards can be seen
    for method, mark in {"base": "✗", "lora": "✓"}.items():
        card = page.locator(f".reading.{method}")
        words = f"{card.locator('output').inner_text()} {card.locator('.how').inner_text()} {mark}"
        expect(strip.locator(f".{method}")).to_contain_text(words)
    expect(strip.locator(".base")).to_contain_text("not sure")

    page.set_viewport_size({"width": 390, "height": 844})
    paper = ".coto-pad-paper"
    page.evaluate(f"scrollBy(0, document.querySelector('{paper}').getBoundingClientRect().bottom - innerHeight - 20)")
    expect(page.locator(paper)).to_be_in_viewport()
    expect(strip).to_be_hidden()
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    expect(strip).to_be_visible()
    foot = page.locator("footer p").bounding_box()
    above = strip.bounding_box()
    assert foot and above and foot["y"] + foot["height"] <= above["y"], "it covers nothing of the footer"


def test_notice_of_the_browser_is_no_fault(page: Page, site: str) -> None:
    page.goto(f"{site}/index.html")
    problem = page.locator("[data-part=problem]")
    page.evaluate("dispatchEvent(new ErrorEvent('error', { message: 'ResizeObserver loop' }))")
    expect(problem).to_be_hidden()
    page.evaluate("dispatchEvent(new ErrorEvent('error', { message: 'no x', error: new Error('no x') }))")
    expect(problem).to_have_text("Something went wrong: no x")


def test_page_from_a_folder_says_that_it_needs_a_server(page: Page, written: Path) -> None:
    page.goto((written / "index.html").as_uri())
    expect(page.locator("[data-part=problem]")).to_contain_text("python -m http.server", timeout=SOON)


def test_every_control_has_a_name(opened: Callable[..., Page]) -> None:
    page = opened()
    nameless = page.evaluate("""() => Array.from(document.querySelectorAll('button, input, select, summary, a'))
        .filter((one) => !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).map((one) => one.outerHTML)""")
    assert nameless == []
    ids = page.evaluate("Array.from(document.querySelectorAll('[id]'), (one) => one.id)")
    assert len(ids) == len(set(ids))


# The address


def test_menu_keeps_what_is_set(page: Page, site: str) -> None:
    """In a page of its own, since a browser counts no more than 50 entries of its history."""
    page.goto(f"{site}/index.html#image={IMAGE}&open=10101010")
    entries = page.evaluate("history.length")
    page.get_by_role("navigation").get_by_role("link", name="Schedule").click()
    page.wait_for_function("location.hash.endsWith('&schedule')")
    assert page.evaluate("history.length") == entries + 1
    page.get_by_role("switch", name="Block 1").press(" ")
    page.wait_for_function("location.hash.includes('open=11101010')")
    address = page.evaluate("location.hash")
    assert address.upper() == f"#image={IMAGE}&open=11101010&schedule".upper()

    page.goto("about:blank")  # otherwise another hash is no new page
    page.goto(f"{site}/index.html{address}")
    expect(page.locator(".reading.coto output")).to_have_text("7", timeout=SOON)
    expect(page.locator("#schedule")).to_be_in_viewport()
    page.get_by_role("link", name="coto_lab").click()
    page.wait_for_function("location.hash.endsWith('&top') && scrollY === 0")
    expect(page.locator(".switches [aria-checked=true]")).to_have_count(5)


def test_back_to_a_bare_address_keeps_what_is_set(opened: Callable[..., Page]) -> None:
    page = opened()
    page.get_by_role("navigation").get_by_role("link", name="Blocks").click()
    page.get_by_role("switch", name="Block 1").click()
    page.wait_for_function("location.hash.includes('open=10111111')")
    page.go_back()
    page.wait_for_function("location.hash === '#open=10111111'")
    expect(page.get_by_role("switch", name="Block 1")).not_to_be_checked()


@pytest.mark.parametrize(
    ("hash", "words"),
    [
        ("#%E0%A4%A", "“%E0%A4%A” could not be read and stands at its first value."),
        ("#t=2&test=0", "“t”, “test” could not be read and stand at their first values."),
    ],
)
def test_damaged_address_is_named(opened: Callable[..., Page], hash: str, words: str) -> None:
    expect(opened(hash).locator("[data-part=problem]")).to_contain_text(words)


def test_link_is_copied(page: Page, site: str) -> None:
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"{site}/index.html#schedule")
    page.get_by_role("switch", name="Block 1").click()
    share = page.locator("[data-part=share]")
    share.get_by_role("button", name="Copy link").click()
    expect(share.get_by_role("status")).to_have_text("Copied.")
    assert page.evaluate("navigator.clipboard.readText()") == f"{site}/index.html#open=10111111"
    page.get_by_role("switch", name="Block 1").click()
    expect(share.get_by_role("status")).to_have_text("")

    page.evaluate("void (navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')))")
    share.get_by_role("button", name="Copy link").click()
    expect(share.get_by_role("status")).to_contain_text("Copy it from the address bar")


# Links


def test_links_lead_to_the_notebooks(opened: Callable[..., Page]) -> None:
    page = opened()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    repository = project["urls"]["Repository"].rstrip("/")
    links = page.locator("a[href*='colab.research']").evaluate_all("all => all.map(one => one.href)")
    start = repository.replace("https://github.com/", "https://colab.research.google.com/github/") + "/blob/main/notebooks/"
    names = {link.removeprefix(start) for link in links}
    assert names == {path.name for path in (ROOT / "notebooks").glob("*.ipynb")}
    for place in page.locator("[data-place]").all():
        assert (place.get_attribute("href") or "").startswith(repository)
