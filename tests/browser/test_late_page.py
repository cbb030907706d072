"""In a page that takes longer to show a widget than anywidget waits, the widget still follows the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from playwright.sync_api import Page, WebSocket

NOTEBOOK = "late.ipynb"
CELLS = (
    """
from coto_lab import load_task
from coto_lab.studies.gallery import load_run
from coto_lab.widgets import DrawingPad
runs = {name: load_run(f"{name.lower()}-seed0") for name in ("LoRA", "CoTo")}
view = DrawingPad(load_task("digits"), runs)
view""",
    # The page draws the figure while this cell runs; the kernel answers it afterwards.
    "import time\ntime.sleep(8)\nview.pad.counts = [0, 0, 0, 0, 14, 0, 0, 0] * 8  # an upright line",
)

# anywidget waits 2 s for a model, by this function; here it waits so short that every model of the page is late.
IMPATIENT = """(() => {
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    AbortSignal.timeout = time => timeout(time === 2000 ? 0 : time);
})()"""

BARS = "() => document.querySelector('.coto-drawing-pad .js-plotly-plot')?._fullData?.map(({y}) => Math.max(...y))"
INK = "() => document.querySelectorAll('.coto-drawing-pad .coto-pad-ink rect').length"


def test_figures_and_the_pad_follow_the_kernel(
    page: Page,
    run_all: Callable[..., list[dict[str, Any]]],
    open_until_found: Callable[..., None],
    write_notebook: Callable[..., None],
    lab: str,
) -> None:
    write_notebook(NOTEBOOK, CELLS)
    page.add_init_script(IMPATIENT)
    asked: list[bytes | str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: asked.append(frame) if '"late"' in str(frame) else None)

    def follows() -> None:
        page.wait_for_function(f"({INK})() === 64")
        page.wait_for_function(f"({BARS})()?.every(best => best > 50)")
        assert len(asked) == 2, "the figure and the pad were to be late"

    page.on("websocket", listen)
    assert run_all(page, NOTEBOOK) == []
    follows()
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save').then(() => null)")

    def reload() -> None:
        asked.clear()
        page.goto(f"{lab}/lab/tree/{NOTEBOOK}")

    open_until_found(page, reload, 1)
    follows()
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function(f"({BARS})()?.every(best => best === 0)")
