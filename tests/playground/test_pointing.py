"""One block is marked in all parts of the playground: the one that is pointed at, or else the one that a click has chosen."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from playwright.sync_api import Browser, Page, expect

BAR = "[data-figure=shapley] [data-block='5']"
SAID = ".mark-said"


def test_what_is_pointed_at_goes_before_what_is_chosen(run_js: Callable[..., Any]) -> None:
    marked, heard = run_js("""const { makeStore } = await load("store.js");
        const [store, heard] = [makeStore(), []];
        store.subscribe(["marked"], ({ marked }) => heard.push(marked));
        const set = (changes) => (store.set(changes), store.get().marked);
        const [away, release] = [{ marked: null }, { chosen: null }];
        const marked = [{ marked: 3 }, { chosen: 5 }, away, { t: 1 }, { marked: 0 }, release, away].map(set);
        return [marked, heard]""")
    assert marked == [3, 3, 5, 5, 0, 0, None]
    assert heard == [3, 5, 0, None]


def test_a_chosen_block_is_marked_again_when_no_other_one_is_pointed_at(opened: Callable[..., Page]) -> None:
    page = opened("#figures")
    page.locator("[data-figure=pruning] .skip-it").click()
    page.locator(BAR).hover()
    expect(page.locator(SAID)).to_have_text("block 5 is marked")
    page.mouse.move(0, 0)
    expect(page.locator(SAID)).to_have_text("no block is marked")

    page.get_by_role("switch", name="Block 3").click()  # the bar takes the focus from it
    page.locator(BAR).click()
    for other in (".switches [data-block='1']", ".plan li[data-block='2']", "[data-figure=pruning] [data-block='6']"):
        page.locator(other).hover()
        expect(page.locator(SAID)).to_have_text(f"block {page.locator(other).get_attribute('data-block')} is marked")
        page.mouse.move(0, 0)
        expect(page.locator(SAID)).to_have_text("block 5 is marked")
    expect(page.locator(".switches .marked, .plan li.marked")).to_have_text(["5", re.compile("^5 ")])


def test_a_tap_chooses_a_block(browser: Browser, site: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(f"{site}/index.html#figures")
    page.locator(BAR).tap()
    expect(page.locator(SAID)).to_have_text("block 5 is marked")
    page.get_by_role("switch", name="Block 3").tap()  # it has the focus until the next tap
    expect(page.locator(SAID)).to_have_text("block 3 is marked")
    page.locator(BAR).tap()
    expect(page.locator(SAID)).to_have_text("no block is marked")
    context.close()
