"""What a reader does with the drawing pad, on the playground's page and in a notebook alike."""

from __future__ import annotations

from playwright.sync_api import Page


def draw(page: Page, line: list[tuple[float, float]], steps: int = 3) -> None:
    """Draw a line with the mouse: its corners, in cells of the pad, and ``steps`` events from each to the next."""
    box = page.locator(".coto-pad-paper").bounding_box()
    assert box is not None
    for i, (x, y) in enumerate(line):
        page.mouse.move(box["x"] + x * box["width"] / 32, box["y"] + y * box["height"] / 32, steps=steps)
        if i == 0:
            page.mouse.down()
    page.mouse.up()


def counts(page: Page) -> list[int]:
    """The 64 numbers that the pad counted, as it tells them to screen readers."""
    label = page.locator(".coto-pad-seen").get_attribute("aria-label") or ""
    return [int(number) for number in label.partition(":")[2].split()]
