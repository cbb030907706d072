"""The kernel's interrupt and restart, where no cell waits for the training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, expect

CELLS = [
    """
from coto_lab import Recipe, load_task
from coto_lab.widgets import LiveTraining
live = LiveTraining(load_task("digits"), {"LoRA": Recipe(steps=20_000)})
live
""",
    "print(len(live.runs))",
]
KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"


def test_interrupt_stops_a_training_from_the_start_button_and_a_restart_is_told(
    page: Page, run_all: Callable[..., list[dict[str, Any]]], write_notebook: Callable[..., str]
) -> None:
    assert run_all(page, write_notebook(CELLS)) == []
    live = page.locator(".coto-live")
    live.get_by_role("button", name="Start").click()
    expect(live).to_contain_text("Training: step")
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:interrupt-kernel').then(() => null)")
    expect(live).to_contain_text("Stopped: step")
    expect(live.get_by_role("button", name="Start")).to_be_enabled()

    page.evaluate("""async () => {
        window.jupyterapp.shell.currentWidget.content.activeCellIndex = 1;
        await window.jupyterapp.commands.execute('notebook:run-cell');
    }""")
    output = page.locator(".jp-OutputArea-output").last
    expect(output).to_have_text("1")  # the kernel lives, and has the run

    notice = "() => getComputedStyle(document.querySelector('.coto-live'), '::before').content"
    assert page.evaluate(notice) == "none"
    page.evaluate(f"() => {KERNEL}.restart()")
    page.wait_for_function(f"({notice})().includes('The kernel was restarted')")
    assert page.left_home == []  # type: ignore[attr-defined]
