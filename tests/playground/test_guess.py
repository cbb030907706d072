"""Test images on the playground's page: it asks before it shows, and what it says holds for what is shown."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pad_by_mouse import draw
from playwright.sync_api import Page, expect

METHODS = ("base", "lora", "coto")
IMAGE = "09gggg900588ag9000009g200000fd000005g600000bg100002ga000003g4000"
FORM = "[data-part=guess] form"
TOLD = "[data-part=guess] .told"
SAID = "[data-part=samples] .said"
SCORE = "[data-part=score] span"
SOON = 20_000  # milliseconds; this only ends a test that would fail anyway


def best(page: Page) -> dict[str, str]:
    """The best digit of each model, as the cards show it."""
    return {method: page.locator(f".reading.{method} output").inner_text() for method in METHODS}


@pytest.fixture(scope="module")
def labels(written: Path) -> str:
    found: str = json.loads((written / "images.json").read_text())["labels"]
    return found


@pytest.mark.parametrize(("ticked", "words"), [(["CoTo"], "CoTo"), (["LoRA", "CoTo"], "LoRA and CoTo"), ([], "none of them")])
def test_page_asks_before_it_shows(opened: Callable[..., Page], ticked: list[str], words: str) -> None:
    page = opened()
    expect(page.get_by_label("Ask me before you show (test images, measurements, figures)")).to_be_checked()
    page.get_by_role("button", name="A test image").click()
    form = page.locator(FORM)
    expect(form).to_be_visible(timeout=SOON)
    expect(form).to_contain_text("Nothing ticked means: none of them.")
    assert set(best(page).values()) == {"?"}
    for name in ticked:
        form.get_by_label(name).check()
    form.get_by_role("button", name="Show", exact=True).click()
    expect(form).to_be_hidden()
    verdicts = {m: page.locator(f".reading.{m}").get_attribute("data-verdict") for m in METHODS}
    right = sum((verdicts[m] == "right") == (m in [name.lower() for name in ticked]) for m in METHODS)
    expect(page.locator(TOLD)).to_have_text(f"You said {words}; right about {right} of 3.")
    expect(page.locator(TOLD)).to_be_focused()
    expect(page.locator(SCORE)).to_have_text(f"Right guesses: {right} of 3")

    page.get_by_role("switch", name="Block 1").click()
    expect(page.locator(TOLD)).to_have_text("")


def test_they_disagree_on_the_image_that_is_looked_for(opened: Callable[..., Page]) -> None:
    page = opened("#open=10101010")
    page.get_by_label("Ask me before you show").uncheck()
    page.get_by_role("button", name="One they disagree on").click()
    said = page.locator(SAID)
    expect(said).to_contain_text("disagree on it, as the switches stand", timeout=SOON)
    expect(page.locator(".reading.lora")).to_have_attribute("data-verdict", re.compile("right|wrong"), timeout=SOON)
    shown = best(page)
    assert shown["lora"] != shown["coto"]

    page.get_by_role("switch", name="Block 1").click()
    expect(said).to_have_text(re.compile(r"^Test image \d+ of \d+\.$"))
    page.get_by_role("switch", name="Block 1").click()
    expect(said).to_contain_text("disagree on it")


def test_link_to_a_test_image_asks(opened: Callable[..., Page], labels: str) -> None:
    number = labels.index("8") + 1
    page = opened(f"#test={number}&open=10101010")
    expect(page.locator(FORM)).to_contain_text("This is an 8. Who reads it correctly?", timeout=SOON)
    expect(page.locator(SAID)).to_have_text(f"Test image {number} of {len(labels)}.")
    assert set(best(page).values()) == {"?"}
    page.get_by_role("button", name="Show without a guess").click()
    expect(page.locator(".verdict")).to_contain_text("It is an 8.", timeout=SOON)
    page.get_by_role("switch", name="Block 1").click()
    page.wait_for_function("location.hash.includes('open=11101010')")
    assert page.evaluate("location.hash") == f"#test={number}&open=11101010", "not its 64 numbers"

    page.evaluate("scrollTo({ top: 0, behavior: 'instant' })")
    draw(page, [(8, 6), (24, 6), (15, 28)])
    page.wait_for_function("location.hash.startsWith('#image=') && !location.hash.includes('test=')")
    expect(page.locator(SAID)).to_have_text("")
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function("location.hash === '#open=11101010'")


def test_address_of_no_test_image_is_named(opened: Callable[..., Page], labels: str) -> None:
    page = opened(f"#test={len(labels) + 1}")
    words = f"The address names test image {len(labels) + 1}, but there are only {len(labels)}."
    expect(page.locator(SAID)).to_have_text(words, timeout=SOON)
    page.wait_for_function("location.hash === ''")
    page.evaluate("location.hash = '#test=1'")
    expect(page.locator(SAID)).to_have_text(f"Test image 1 of {len(labels)}.")


def test_another_address_takes_the_words_away(opened: Callable[..., Page]) -> None:
    """Even one with the same numbers, which says nothing about what they show."""
    page = opened("#test=2")
    page.get_by_role("button", name="Show without a guess").click()
    expect(page.locator(TOLD)).to_have_text("Shown without a guess.")
    numbers = page.evaluate("fetch('images.json').then((answer) => answer.json()).then(({ images }) => images[1])")
    page.evaluate("(numbers) => (location.hash = `#image=${numbers}`)", numbers)
    expect(page.locator(SAID)).to_have_text("")
    expect(page.locator(TOLD)).to_have_text("")
    page.go_back()
    expect(page.locator(FORM)).to_be_visible()
    expect(page.locator(SAID)).to_contain_text("Test image 2 of")


def test_a_measurement_asks_first(opened: Callable[..., Page]) -> None:
    page = opened()
    measure = page.locator("[data-part=measure]")
    go = measure.locator(".go")
    go.click()
    form = measure.locator("form")
    asked = "What share of the 100 images do they read correctly (seed 0, all blocks open)?"
    expect(form.locator("legend")).to_have_text(asked, timeout=SOON)
    expect(measure.locator(".said")).to_contain_text("Guess first")
    expect(measure.locator(".results")).to_be_hidden()
    go.click()  # another measurement; the question goes
    expect(go).to_have_text("Stop")
    expect(form).to_have_count(0)
    expect(form).to_be_visible(timeout=SOON)
    expect(go).to_have_text("Read them")
    form.get_by_role("slider", name="CoTo").press("End")
    form.get_by_role("button", name="Show", exact=True).click()
    expect(measure.locator(".told")).to_contain_text("CoTo: you 100%, measured ")
    expect(measure.locator(".results tbody tr")).to_have_count(1)
    expect(go).to_have_text("Read them")
    expect(page.locator(SCORE)).to_contain_text("of 3")
    page.get_by_label("Ask me before you show").uncheck()  # the question that went is not answered now
    expect(measure.locator(".told")).to_contain_text("CoTo: you 100%, measured ")


@pytest.mark.parametrize("kept", ["3 of 5", "5 of 3", "nonsense"])
def test_score_stays_until_the_reader_starts_again(opened: Callable[..., Page], kept: str) -> None:
    page = opened()
    page.evaluate("(kept) => localStorage.setItem('coto-lab-score', kept)", kept)
    page.reload()
    expect(page.locator(SCORE)).to_have_text("Right guesses: 3 of 5" if kept == "3 of 5" else "")
    again = page.get_by_role("button", name="Start counting again")
    expect(again).to_be_visible(visible=kept == "3 of 5")
    if kept == "3 of 5":
        again.click()
        expect(page.locator(SCORE)).to_have_text("Counting starts anew.")
        expect(page.locator(SCORE)).to_be_focused()
        page.reload()
        expect(page.locator(SCORE)).to_have_text("")


def test_unticking_ask_answers_the_questions_that_stand(opened: Callable[..., Page]) -> None:
    page = opened()
    measure = page.locator("[data-part=measure]")
    measure.locator(".go").click()
    expect(measure.locator("form")).to_be_visible(timeout=SOON)
    ask = page.get_by_label("Ask me before you show")
    ask.uncheck()
    expect(measure.locator("form")).to_have_count(0)
    expect(measure.locator(".results tbody tr")).to_have_count(1)
    expect(ask).to_be_focused()
    expect(page.locator(SCORE)).to_have_text("")


@pytest.mark.parametrize(("guess", "near"), [(52, 1), (53, 0), (42, 1), (41, 0)])
def test_five_points_off_is_near(opened: Callable[..., Page], guess: int, near: int) -> None:
    """0.52 - 0.47 is a little more than 0.05 in a computer's numbers."""
    page = opened()
    told = page.evaluate(
        """async (guess) => {
        const [{ askPercent }, { makeStore }] = await Promise.all([import("./js/guess.js"), import("./js/store.js")]);
        const place = document.createElement("div");
        askPercent(place, makeStore(), { id: "near", question: "How many?", truth: { LoRA: 0.47 } });
        const slider = place.querySelector("input");
        slider.value = guess;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        place.querySelector("form").dispatchEvent(new Event("submit", { cancelable: true }));
        return place.textContent;
    }""",
        guess,
    )
    assert told == f"LoRA: you {guess}%, measured 47.0%. {near} of 1 within 5 points."


def test_the_same_image_by_another_address_is_read(opened: Callable[..., Page]) -> None:
    page = opened("#test=2")
    page.get_by_role("button", name="Show without a guess").click()
    numbers = page.evaluate("fetch('images.json').then((answer) => answer.json()).then(({ images }) => images[1])")
    page.evaluate("(numbers) => (location.hash = `#image=${numbers}`)", numbers)
    expect(page.locator("[data-part=readings] .verdict")).to_have_text(re.compile("ten digits"))
    expect(page.locator(".cards")).not_to_have_class(re.compile("stale"))
    assert set(page.locator(".along td").evaluate_all("all => all.map((one) => one.dataset.verdict)")) == {""}


def test_two_tabs_have_one_score(opened: Callable[..., Page]) -> None:
    page = opened()
    other = page.context.new_page()
    other.goto(page.url)
    other.evaluate("localStorage.setItem('coto-lab-score', '2 of 3')")
    expect(page.locator(SCORE)).to_have_text("Right guesses: 2 of 3")
    other.close()


def test_a_reload_stays_where_the_reader_is(opened: Callable[..., Page]) -> None:
    page = opened("#test=2&measure")
    expect(page.locator(FORM)).to_contain_text("Who reads it correctly?", timeout=SOON)
    page.wait_for_timeout(300)
    assert page.locator("#measure").evaluate("one => one.getBoundingClientRect().top") < 200


def test_untouched_sliders_are_no_guess(opened: Callable[..., Page]) -> None:
    page = opened()
    page.evaluate("""async () => {
        const [{ askPercent }, { makeStore }] = await Promise.all([import("./js/guess.js"), import("./js/store.js")]);
        const place = document.createElement("div");
        place.id = "asked";
        document.body.prepend(place);
        window.asking = makeStore();
        askPercent(place, window.asking, { id: "ask", question: "How many?", truth: { LoRA: 0.55, CoTo: 0.9 } });
    }""")
    asked = page.locator("#asked")
    show = asked.get_by_role("button", name="Show", exact=True)
    expect(show).to_have_attribute("aria-disabled", "true")
    expect(show).to_have_accessible_description("Move a slider to guess.")
    show.click(force=True)
    assert page.evaluate("asking.get().score.asked") == 0
    asked.get_by_role("slider", name="CoTo").press("ArrowRight")
    show.click()
    expect(asked.locator(".told")).to_have_text(
        "LoRA: you 50%, measured 55.0%; CoTo: you 51%, measured 90.0%. 1 of 2 within 5 points."
    )
    expect(asked.locator(".told")).to_be_focused()
