"""The tour, with Stop pressed in mid-training: it ends early, and the rest runs on what was learned until then."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page

HURRIED, LONG = r"here\.scale\(800, \d+\)", "800"  # a training that does not end before the click is there


def test_stop_ends_the_training_early_and_the_tour_goes_on(
    page: Page, run_all: Callable[..., list], assert_healthy: Callable[[Page], None], lab_folder: Path
) -> None:
    tour = (lab_folder / "00_tour.ipynb").read_text(encoding="utf-8")
    to_stop, found = re.subn(HURRIED, LONG, tour)
    assert found == 1
    (lab_folder / "tour_to_stop.ipynb").write_text(to_stop, encoding="utf-8")

    def press_stop(page: Page) -> None:
        live = page.locator(".coto-live")
        live.get_by_text("Training: step").wait_for()
        live.get_by_role("button", name="Stop").click()
        live.get_by_text("Stopped: step").wait_for()  # a training that Stop does not reach ends with "Finished"

    assert run_all(page, "tour_to_stop.ipynb", meanwhile=press_stop) == []
    assert_healthy(page)
