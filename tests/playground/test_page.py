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
    expect(page.locator(".verdict")).to_contain_text("No reading is sure", timeout=SOON)
    assert page.locator(".reading.unsure").count() == 3


# Test images, and the question before the answer


def test_page_asks_before_it_shows(opened: Callable[..., Page]) -> None:
    page = opened()
    page.get_by_role("button", name="A test image").click()
    form = page.locator("[data-part=guess] form")
    expect(form).to_be_visible(timeout=SOON)
    assert set(best(page).values()) == {"?"}
    form.get_by_label("CoTo").check()
    form.get_by_role("button", name="Show", exact=True).click()
    expect(form).to_be_hidden()
    told = page.locator("[data-part=guess] .told").inner_text()
    verdicts = {m: page.locator(f".reading.{m}").get_attribute("data-verdict") for m in ("base", "lora", "coto")}
    right = sum(verdicts[m] == wanted for m, wanted in {"base": "wrong", "lora": "wrong", "coto": "right"}.items())
    assert told == f"You were right about {right} of 3."
    expect(page.locator("[data-part=score]")).to_have_text(f"Your guesses: {right} of 3")


def test_they_disagree_on_the_image_that_is_looked_for(opened: Callable[..., Page]) -> None:
    page = opened("#open=10101010")
    page.get_by_label("Ask me before you show").uncheck()
    page.get_by_role("button", name="One they disagree on").click()
    expect(page.locator("[data-part=samples] .said")).to_contain_text("disagree on it", timeout=SOON)
    expect(page.locator(".reading.lora")).to_have_attribute("data-verdict", re.compile("right|wrong"), timeout=SOON)
    shown = best(page)
    assert shown["lora"] != shown["coto"]


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
