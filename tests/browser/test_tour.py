"""The tour, with Stop pressed in mid-training: it ends early, and the rest runs on what was learned until then."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page


def test_stop_ends_the_training_early_and_the_tour_goes_on(
    page: Page, run_all: Callable[..., list], assert_healthy: Callable[[Page], None]
) -> None:
    def press_stop(page: Page) -> None:
        live = page.locator(".coto-live")
        live.get_by_text("Training: step").wait_for()
        live.get_by_role("button", name="Stop").click()
        live.get_by_text("Stopped: step").wait_for()  # a training that Stop does not reach ends with "Finished"

    assert run_all(page, "00_tour.ipynb", meanwhile=press_stop) == []
    assert_healthy(page)
