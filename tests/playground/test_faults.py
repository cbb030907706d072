"""Files that do not come or are damaged, and strokes that are broken off: the page says what is wrong and stays usable."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pad_by_mouse import counts, draw
from playwright.sync_api import Page, expect

SEVEN: list[tuple[float, float]] = [(8, 6), (24, 6), (15, 28)]  # corners of the line, in cells of the pad
SOON = 20_000  # milliseconds; this only ends a test that would fail anyway
READINGS = "[data-part=readings]"


def test_another_choice_ends_the_wait_for_a_file_that_does_not_come(page: Page, site: str) -> None:
    page.route("**/adapters/coto-seed3/**", lambda route: route.fulfill(status=404, body=""))
    page.goto(f"{site}/index.html")
    draw(page, SEVEN)
    first = page.locator(".reading.coto output")
    expect(first).to_have_text("7", timeout=SOON)
    page.get_by_label("Left end").select_option("3")
    alert = page.locator(f"{READINGS} [role=alert]")
    expect(alert).to_contain_text("the server answers 404", timeout=SOON)
    expect(page.locator(".cards")).to_have_class("cards stale")
    page.get_by_label("Left end").select_option("0")
    expect(alert).to_have_count(0, timeout=SOON)
    expect(page.locator(".cards")).to_have_class("cards", timeout=SOON)
    page.get_by_role("button", name="Clear").click()
    draw(page, [(16, 3), (16, 29)])
    expect(first).to_have_text("1", timeout=SOON)
    expect(page.locator("[data-part=problem]")).to_be_hidden()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("<!doctype html><p>Sign in", "images.json is damaged: "),
        ('{"images": ["00', "images.json is damaged: "),
    ],
    ids=["a page", "half of it"],
)
def test_a_damaged_file_is_named_and_fetched_anew(page: Page, site: str, answer: str, said: str) -> None:
    page.route("**/images.json", lambda route: route.fulfill(status=200, body=answer), times=1)
    page.add_init_script("""window.asked = [];
        const before = fetch;
        fetch = (url, options) => (asked.push([String(url).split("/").at(-1), options.cache]), before(url, options));""")
    page.goto(f"{site}/index.html")
    page.get_by_role("button", name="A test image").click()
    alert = page.locator("[data-part=samples] [role=alert]")
    expect(alert).to_contain_text(said, timeout=SOON)
    again = alert.get_by_role("button", name="Try again")
    again.focus()
    again.press("Enter")
    assert page.evaluate("document.activeElement !== document.body"), "the button was in focus"
    expect(page.locator("[data-part=guess] form")).to_be_visible(timeout=SOON)
    asked = page.evaluate("asked.filter(([name]) => name === 'images.json')")
    assert asked == [["images.json", "default"], ["images.json", "reload"]], "the browser's own copy may be the damaged one"


def test_a_server_that_stalls_is_said_to(page: Page, site: str) -> None:
    page.clock.install()
    page.route("**/model.safetensors", lambda _: None)
    page.goto(f"{site}/index.html")
    waiting = page.locator(f"{READINGS} .waiting")
    expect(waiting).to_have_text("Loading the models …")
    page.clock.run_for(3_000)
    expect(waiting).to_contain_text("MB have arrived.")
    page.clock.run_for(10_000)
    expect(waiting).to_contain_text("seconds nothing has come: is the network on?")


def test_figures_whose_code_does_not_come_say_so_where_they_would_be(page: Page, site: str) -> None:
    page.route("**/js/figures.js", lambda route: route.abort())
    page.goto(f"{site}/index.html")
    page.locator("#figures").scroll_into_view_if_needed()
    alert = page.locator("[data-part=figures] [role=alert]")
    expect(alert).to_contain_text("The code of the figures did not arrive.", timeout=SOON)
    page.unroute("**/js/figures.js")
    page.reload()
    page.locator("#figures").scroll_into_view_if_needed()
    expect(page.locator("[data-figure]").first).to_be_visible(timeout=SOON)


@pytest.mark.parametrize("key", ["Backspace", "Delete"])
def test_a_pad_that_is_emptied_while_a_line_is_drawn_goes_on(opened: Callable[..., Page], key: str) -> None:
    page = opened()
    box = page.locator(".coto-pad-paper").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 90, box["y"] + 90)
    page.keyboard.press(key)
    page.mouse.move(box["x"] + 120, box["y"] + 40)
    assert counts(page) == [], "the line has ended"
    page.mouse.up()
    draw(page, SEVEN)
    expect(page.locator(".reading.lora output")).to_have_text("7", timeout=SOON)


def test_a_second_finger_that_is_lifted_does_not_end_the_line(opened: Callable[..., Page]) -> None:
    page = opened()
    corners = len(SEVEN)
    paper = page.locator(".coto-pad-paper")
    box = paper.bounding_box()
    assert box is not None
    for i, (x, y) in enumerate(SEVEN):
        page.mouse.move(box["x"] + x * box["width"] / 32, box["y"] + y * box["height"] / 32)
        if i == 0:
            page.mouse.down()
        paper.evaluate("(paper) => paper.dispatchEvent(new PointerEvent('pointerup', { pointerId: 77 }))")
    page.mouse.up()
    (points,) = page.locator(".coto-pad-ink polyline").evaluate_all("lines => lines.map((line) => line.points.numberOfItems)")
    assert points == corners + 1, "the last point stands twice, so that a dot is seen"


def test_pen_is_up_after_undo(opened: Callable[..., Page]) -> None:
    page = opened()
    page.locator(".coto-pad-paper").focus()
    page.keyboard.press("Space")
    cursor = page.locator(".coto-pad-cursor")
    expect(cursor).to_have_class("coto-pad-cursor down")
    page.get_by_role("button", name="Undo").click()
    expect(cursor).to_have_class("coto-pad-cursor")


@pytest.mark.parametrize(
    ("hash", "said"),
    [
        ("open=11110000&open=00001111", "“open” could not be read and stands at its first value."),
        ("&".join(f"no{i}=1" for i in range(3000)), "“no0”, “no1”, “no2” and 2997 more could not be read and stand"),
        (f"image={64 * '0'}", "“image” could not be read"),
    ],
    ids=["twice", "many", "blank"],
)
def test_what_an_address_has_too_much_is_said_in_short(opened: Callable[..., Page], hash: str, said: str) -> None:
    page = opened(f"#{hash}")
    problem = page.locator("[data-part=problem]")
    expect(problem).to_contain_text(said)
    assert len(problem.inner_text()) < 200
    assert page.locator("[role=switch][aria-checked=true]").count() == 8
