"""The playground's page, in a real browser: what a reader does, and what the page says."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from coto_lab import Linear, Sine
from coto_lab.gating.coto import expected_open, probabilities, training_masks
from coto_lab.probes.cost import spared

ROOT = Path(__file__).parents[2]
SEVEN = [(8, 6), (24, 6), (15, 28)]  # corners of the line, in cells of the pad
READINGS = "[data-part=readings]"
SOON = 20_000  # milliseconds; this only ends a test that would fail anyway


@pytest.fixture
def opened(page: Page, site: str) -> Iterator[Callable[..., Page]]:
    """``opened(hash)``: the page with this address, once its models have been loaded. Afterwards: no error, no request away."""

    def go(hash: str = "") -> Page:
        page.goto("about:blank")  # otherwise another hash is no new page
        page.goto(f"{site}/index.html{hash}")
        expect(page.locator(f"{READINGS} .waiting")).to_have_count(0, timeout=SOON)
        return page

    yield go
    assert page.errors == []  # type: ignore[attr-defined]
    assert page.left_home == []  # type: ignore[attr-defined]


def draw(page: Page, line: list[tuple[float, float]]) -> None:
    """Draw a line with the mouse."""
    box = page.locator(".coto-pad-paper").bounding_box()
    assert box is not None
    for i, (x, y) in enumerate(line):
        page.mouse.move(box["x"] + x * box["width"] / 32, box["y"] + y * box["height"] / 32, steps=5)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def best(page: Page) -> dict[str, str]:
    """The best digit of each model, as the cards show it."""
    return {method: page.locator(f".reading.{method} output").inner_text() for method in ("base", "lora", "coto")}


def counts(page: Page) -> list[int]:
    """The 64 numbers that the pad counted."""
    label = page.locator(".coto-pad-seen").get_attribute("aria-label") or ""
    return [int(number) for number in label.partition(":")[2].split()]


# Drawing and reading


def test_drawn_seven_is_read(opened: Callable[..., Page]) -> None:
    page = opened()
    expect(page.locator(".verdict")).to_contain_text("Draw a digit")
    draw(page, SEVEN)
    expect(page.locator(".reading.coto output")).to_have_text("7", timeout=SOON)
    assert best(page) == {"base": "7", "lora": "7", "coto": "7"}
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
    page = opened("#open=00000000")
    draw(page, [(4, 16), (28, 16), (4, 17), (28, 17)])
    expect(page.locator(".reading.base .how")).to_contain_text("%", timeout=SOON)
    sure = page.locator(".reading:not(.unsure)").count()
    assert ("No reading is sure" in page.locator(".verdict").inner_text()) == (sure == 0)


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
    page = opened("#open=00000000")
    draw(page, SEVEN)
    expect(page.locator(".reading.coto output")).to_have_text("7", timeout=SOON)
    hows = page.locator(".reading .how").all_inner_texts()
    assert len(set(hows)) == 1, "without adapters, all three are the base"


# Switches, line, measurement


def test_switches(opened: Callable[..., Page]) -> None:
    page = opened()
    said = page.locator("[data-part=blocks] .said")
    page.get_by_role("switch", name="Block 3").click()
    expect(said).to_have_text("7 of 8 blocks are open: 0, 1, 2, 4, 5, 6, 7.")
    page.get_by_role("button", name="Every other").click()
    expect(said).to_have_text("4 of 8 blocks are open: 0, 2, 4, 6.")
    page.get_by_label("Random blocks").fill("2")
    page.get_by_role("button", name="Open 2 of 8").click()
    expect(said).to_contain_text("2 of 8 blocks are open")
    assert page.locator(".switches [aria-checked=true]").count() == 2
    page.get_by_role("switch", name="Block 5").focus()
    expect(page.locator(".switches .marked b")).to_have_text("5")
    expect(page.locator(".plan li.marked b")).to_have_text("5")


def test_line_shows_its_ends(opened: Callable[..., Page]) -> None:
    """Places 0 and 1 of the line are the seeds themselves, so an address with another seed reads the same there."""
    page = opened("#seeds=03&t=1&open=11010010")
    draw(page, SEVEN)
    cells = page.locator(".along .lora td")
    expect(cells.nth(10)).to_have_text(re.compile(r"\d"), timeout=SOON)
    expect(page.locator(".reading.lora output")).to_have_text(cells.nth(10).inner_text(), timeout=SOON)
    third = page.locator(".reading .how").all_inner_texts()
    page.get_by_label("Place on the line").fill("0.5")
    expect(page.locator(".where")).to_have_text("50% seed 0, 50% seed 3")
    page.get_by_label("Left end").select_option("3")
    page.get_by_label("Place on the line").fill("0")
    expect(page.locator(".where")).to_have_text("seed 3 alone")
    expect(page.locator(".reading.coto .how")).to_have_text(third[2], timeout=SOON)


def test_measurement_is_near_the_labs(opened: Callable[..., Page]) -> None:
    """200 test images; the lab's own numbers of all 1,637 images are within five standard errors."""
    page = opened()
    page.get_by_role("button", name="Read 200 test images").click()
    row = page.locator(".results tbody tr")
    expect(row).to_have_count(1, timeout=SOON)
    base, lora, coto = (float(text.removesuffix("%")) for text in row.locator("b").all_inner_texts())
    assert 30 < base < 64 and lora > 84 and coto > 84
    expect(page.locator("[data-part=measure] .said")).to_contain_text(f"Base {base:.1f} ±")


# The schedule


@pytest.mark.parametrize(
    ("hash", "schedule", "seed"),
    [("", Linear(), 0), ("#schedule=Sine,0.1,0.9,0.5&draw=7", Sine(0.1, 0.9, 0.5), 7)],
)
def test_numbers_of_the_schedule_are_the_labs(opened: Callable[..., Page], hash: str, schedule: Any, seed: int) -> None:
    page = opened(hash)
    masks = training_masks(8, schedule, total_steps=800, seed=seed)
    adapters, backward = spared(masks)
    facts = page.locator(".facts")
    expect(facts.locator(".share")).to_have_text(f"{100 * masks.double().mean().item():.1f}%")
    expect(facts.locator(".expected")).to_have_text(
        f"{100 * expected_open(8, probabilities(schedule, 800)[:, None]).mean() / 8:.1f}%"
    )
    expect(facts.locator(".adapters")).to_have_text(f"{100 * adapters:.1f}%")
    expect(facts.locator(".backward")).to_have_text(f"{100 * backward:.1f}%")

    page.get_by_label("Step", exact=True).fill("300")
    page.get_by_role("button", name="Set the switches").click()
    switches = page.locator(".switches button").evaluate_all("all => all.map(one => one.ariaChecked === 'true')")
    assert switches == masks[299].tolist()


def test_start_takes_the_end_along(opened: Callable[..., Page]) -> None:
    page = opened("#schedule=Linear,0,0.5,0.75")
    page.get_by_label("p at the start").fill("0.8")
    expect(page.get_by_label("p at the end")).to_have_value("0.8")
    page.get_by_role("button", name="stochastic depth").click()
    expect(page.get_by_label("p", exact=True)).to_have_value("0.5")
    expect(page.get_by_label("p at the start")).to_be_hidden()
    page.get_by_label("The probability p").select_option("Exponential")
    expect(page.get_by_label("p at the end")).to_have_value("1")


# The address


def test_address_brings_everything_back(opened: Callable[..., Page]) -> None:
    page = opened()
    draw(page, SEVEN)
    page.get_by_role("switch", name="Block 2").click()
    page.get_by_label("Place on the line").fill("0.5")
    page.get_by_label("Right end").select_option("4")
    page.get_by_role("button", name="slow start").click()
    page.wait_for_function("location.hash.includes('schedule=Exp')")
    address, drawn = page.evaluate("location.hash"), counts(page)
    assert {part.partition("=")[0] for part in address[1:].split("&")} == {"image", "open", "seeds", "t", "schedule"}

    opened(address)
    assert counts(page) == drawn
    expect(page.get_by_role("switch", name="Block 2")).not_to_be_checked()
    expect(page.locator(".where")).to_have_text("50% seed 0, 50% seed 4")
    expect(page.locator("#kind")).to_have_value("Exponential")


DAMAGED = (
    "image=12", f"image={'z' * 64}", "image=%E0%A4%A", "open=111", "open=22222222", "seeds=09", "seeds=0", "t=2", "t=", "t=NaN",
    "t=1e9", "draw=-1", "schedule=Linear,1,0,0.5", "schedule=constructor", "schedule=Constant", "schedule=Constant,x",
    "__proto__=1", "other=1",
)  # fmt: skip


def test_damaged_addresses_are_named(run_js: Callable[..., Any]) -> None:
    found = run_js(
        "const { fromHash } = await load('address.js'); return argument.map(fromHash)", [f"#{one}" for one in DAMAGED]
    )
    first = run_js("return (await load('address.js')).fromHash('')")
    assert first["problem"] == ""
    for damaged, read in zip(DAMAGED, found, strict=True):
        assert read["state"] == first["state"]
        assert f"“{damaged.partition('=')[0]}” could not be read" in read["problem"]


def test_page_says_that_its_address_is_damaged(opened: Callable[..., Page]) -> None:
    page = opened("#open=111&draw=5")
    expect(page.locator("[data-part=problem]")).to_contain_text("“open” could not be read")
    expect(page.locator(".seed")).to_have_text("5")
    assert page.locator(".switches [aria-checked=true]").count() == 8


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
    page.goto(f"{site}/index.html#figures")
    expect(page.locator("[data-figure] svg").first).to_be_visible(timeout=SOON)
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
