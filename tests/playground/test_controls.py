"""The controls of the playground's page: switches, the line, measurements, the schedule, and the address that keeps them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from safetensors.torch import load_file

from coto_lab import Linear, Sine
from coto_lab.gating.coto import expected_open, probabilities, training_masks
from coto_lab.ground.files import data_path
from coto_lab.probes.cost import spared

IMAGE = "09gggg900588ag9000009g200000fd000005g600000bg100002ga000003g4000"  # a seven
DESK: Any = {"width": 1280, "height": 1000}
SOON = 20_000  # milliseconds; this only ends a test that would fail anyway


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
    page = opened(f"#image={IMAGE}&seeds=03&t=1&open=11010010")
    ends = {method: page.locator(f".along .{method} td").nth(10) for method in ("lora", "coto")}
    for method, end in ends.items():
        expect(end).to_have_text(re.compile(r"\d"), timeout=SOON)
        expect(page.locator(f".reading.{method} output")).to_have_text(end.inner_text())
    certain = page.locator(".reading.coto .how").inner_text()
    page.get_by_label("Place on the line").fill("0.5")
    expect(page.locator(".where")).to_have_text("50% seed 0, 50% seed 3")
    page.get_by_label("Left end").select_option("3")
    expect(page.locator(".where")).to_have_text("both ends are the same training")
    page.get_by_label("Place on the line").fill("0")
    expect(page.locator(".reading.coto .how")).to_have_text(certain, timeout=SOON)


def test_line_waits_for_the_guess_and_shows_what_is_right(opened: Callable[..., Page]) -> None:
    page = opened("#open=00000000")
    page.get_by_role("button", name="A test image").click()
    said = page.locator("[data-part=line] .said")
    expect(said).to_have_text("The line waits for your guess.", timeout=SOON)
    cells = page.locator(".along td")
    assert set(cells.all_inner_texts()) == {""}
    truth = re.findall(r"\d", page.locator("[data-part=guess] legend").inner_text())[0]
    page.get_by_role("button", name="Show without a guess").click()
    expect(cells.last).to_have_text(re.compile(r"\d"), timeout=SOON)
    shown = cells.evaluate_all("all => all.map((one) => [one.textContent, one.dataset.verdict])")
    assert all(verdict == ("right" if digit == truth else "wrong") for digit, verdict in shown)
    marks = cells.evaluate_all("all => all.map((one) => getComputedStyle(one, '::after').content[1])")
    assert all(mark == ("✓" if digit == truth else "✗") for mark, (digit, _) in zip(marks, shown, strict=True))

    cells.nth(7).click()
    expect(page.get_by_label("Place on the line")).to_have_value("0.7")
    page.get_by_role("button", name="Clear").click()
    expect(said).to_contain_text("Draw a digit")
    assert set(cells.evaluate_all("all => all.map((one) => one.textContent + one.dataset.verdict + one.title)")) == {""}


def test_measurement_is_near_the_labs(opened: Callable[..., Page]) -> None:
    """Two seeds halfway, 100 test images: about what the lab has for all, 47%, 86% and 91%."""
    page = opened("#seeds=12&t=0.5")
    page.get_by_label("Ask me before you show").uncheck()
    go = page.locator("[data-part=measure] .go")
    page.get_by_label("Test images:").select_option("all")
    go.click()
    expect(go).to_have_text("Stop")
    go.click()
    page.get_by_label("Test images:").select_option("100")
    go.click()
    row = page.locator(".results tbody tr")
    expect(row).to_have_count(1, timeout=SOON)
    base, lora, coto = (float(text.removesuffix("%")) for text in row.locator("b").all_inner_texts())
    assert 22 < base < 72 and lora > 65 and coto > 75
    expect(page.locator("[data-part=measure] .said")).to_contain_text(f"Base {base:.1f} ±")
    expect(row.locator(".fine")).to_have_text("between seeds 1 and 2, at 50%; 100 images")

    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360, "the table fits a phone"
    page.set_viewport_size(DESK)


def test_standard_error_is_that_of_a_draw_without_replacement(run_js: Callable[..., Any]) -> None:
    body = "const { standardError } = await load('measure.js'); return argument.map((a) => standardError(...a));"
    hundred, every = run_js(body, [[0.5, 100, 1637], [0.5, 1637, 1637]])
    assert hundred == pytest.approx(100 * (0.25 / 100 * (1537 / 1636)) ** 0.5) and every == 0


def test_section_that_is_none_is_named(opened: Callable[..., Page]) -> None:
    page = opened("#opne")
    problem = page.locator("[data-part=problem]")
    expect(problem).to_have_text("The address of this page names a section “opne”, and there is none.")
    page.get_by_role("switch", name="Block 1").click()
    page.wait_for_function("location.hash === '#open=10111111'")


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
    share = masks.double().mean().item()
    expect(facts.locator(".share .number")).to_have_text(f"{8 * share:.1f} of 8 blocks")
    expect(facts.locator(".share .fine")).to_contain_text(f"a block trains in {100 * share:.1f}% of the steps")
    p = probabilities(schedule, 800)
    expected = expected_open(8, p[:, None]).mean()
    expect(facts.locator(".expected .number")).to_have_text(f"{expected:.1f} of 8 blocks")
    expect(facts.locator(".expected .fine")).to_contain_text(f"p alone would give {8 * p.mean():.1f}")
    for name, saved in {"adapters": adapters, "backward": backward}.items():
        expect(facts.locator(f".{name} .number")).to_have_text(f"{100 * saved:.1f}%")
        expect(facts.locator(f".{name} .fine")).to_contain_text("counted in the draws, not timed")

    page.get_by_label("Step", exact=True).fill("300")
    page.get_by_role("button", name="Set the switches").click()
    switches = page.locator(".switches button").evaluate_all("all => all.map(one => one.ariaChecked === 'true')")
    assert switches == masks[299].tolist()


@pytest.mark.parametrize("seed", range(5))
def test_draws_are_those_of_the_adapters(run_js: Callable[..., Any], seed: int) -> None:
    masks = run_js(
        "const { planOf } = await load('schedule.js'); const { FIRST } = await load('store.js');"
        "return planOf(FIRST.schedule, argument).masks.map((mask) => mask.map(Number))",
        seed,
    )
    history = load_file(data_path("gallery", f"coto-seed{seed}", "history.safetensors"))
    assert masks == history["mask"].int().tolist()


def test_it_says_that_one_block_is_always_open(opened: Callable[..., Page]) -> None:
    page = opened("#schedule=Constant,0")
    expect(page.locator("#schedule > p")).to_contain_text("At least one block is always open")
    expect(page.locator("[data-part=schedule] .said")).to_have_text(
        re.compile(r"^Step 1 of 800: p = 0\.00; open: block \d \(at least one always is\)$")
    )
    expect(page.locator(".facts .expected .number")).to_have_text("1.0 of 8 blocks")


@pytest.mark.parametrize("width", [1280, 390])
def test_a_place_in_the_map_is_a_step(opened: Callable[..., Page], width: int) -> None:
    """A click chooses the step, and so does a drag; the slider's handle lies below the line."""
    page = opened()
    page.set_viewport_size({"width": width, "height": 1000})
    step = page.get_by_label("Step", exact=True)
    plan = page.locator(".plan svg")
    plan.scroll_into_view_if_needed()
    box = plan.bounding_box()
    assert box is not None
    steps = []
    x, y = box["x"], box["y"] + 0.8 * box["height"]
    page.mouse.click(x + 0.25 * box["width"], y)
    steps.append(step.input_value())
    page.mouse.move(x + 0.5 * box["width"], y)
    steps.append(step.input_value())
    page.mouse.down()
    page.mouse.move(x + 0.75 * box["width"], y)
    page.mouse.up()
    steps.append(step.input_value())
    page.mouse.click(x + box["width"] + 20, y)
    steps.append(step.input_value())
    assert [int(value) for value in steps] == pytest.approx([200, 200, 600, 600], abs=3)
    for value in ("1", "400", "800"):
        step.fill(value)
        line, handle = page.evaluate("""() => {
            const [line, slider] = [".plan .at", "#step"].map((one) => document.querySelector(one).getBoundingClientRect());
            const share = (document.querySelector("#step").value - 1) / 799;
            return [line.x + line.width / 2, slider.x + 8 + share * (slider.width - 16)]; // Chromium's handle is 16 wide
        }""")
        assert handle == pytest.approx(line, abs=2)
    page.set_viewport_size(DESK)


def test_start_takes_the_end_along(opened: Callable[..., Page]) -> None:
    page = opened("#schedule=Linear,0,0.5,0.75")
    page.get_by_label("p at the start").fill("0.8")
    expect(page.get_by_label("p at the end")).to_have_value("0.8")
    page.get_by_role("button", name="stochastic depth").click()
    expect(page.get_by_label("p", exact=True)).to_have_value("0.5")
    expect(page.get_by_label("p at the start")).to_be_hidden()
    page.get_by_label("The probability p").select_option("Exponential")
    expect(page.get_by_label("p at the end")).to_have_value("1")


# The state


def test_state(run_js: Callable[..., Any]) -> None:
    """Parts are told of what has changed, not of what was set again; a key that nobody knows is an error."""
    heard, refused = run_js("""const { makeStore } = await load("store.js");
        const [store, heard] = [makeStore(), []];
        const end = store.subscribe(["t", "open"], ({ t }) => heard.push(t));
        for (const changes of [{ t: 0.5 }, { t: 0.5 }, { open: [...store.get().open] }, { marked: 3 }, { t: 1, draw: 2 }]) {
          store.set(changes);
        }
        end();
        store.set({ t: 0 });
        try { store.set({ tee: 1 }) } catch (error) { return [heard, error.message] }""")
    assert heard == [0.5, 1]
    assert "The state has no tee" in refused


# The address


def test_address_brings_everything_back(opened: Callable[..., Page]) -> None:
    page = opened(f"#image={IMAGE}")
    page.get_by_role("switch", name="Block 2").click()
    page.get_by_label("Place on the line").fill("0.5")
    page.get_by_label("Right end").select_option("4")
    page.get_by_role("button", name="slow start").click()
    page.wait_for_function("location.hash.includes('schedule=Exp')")
    address = page.evaluate("location.hash")
    seen = page.locator(".coto-pad-seen")
    drawn = seen.get_attribute("aria-label")
    assert {part.partition("=")[0] for part in address[1:].split("&")} == {"image", "open", "seeds", "t", "schedule"}

    opened(address)
    assert drawn and seen.get_attribute("aria-label") == drawn
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
