"""In a page that takes longer to show a widget than anywidget waits, the widget still follows the kernel."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, WebSocket

CELLS = (
    """
from coto_lab import load_task
from coto_lab.studies.gallery import load_run
from coto_lab.widgets import DrawingPad
runs = {name: load_run(f"{name.lower()}-seed0") for name in ("LoRA", "CoTo")}
view = DrawingPad(load_task("digits"), runs)
view""",
    # The page draws the figure while this cell runs, and the test then writes the file; the kernel answers the page afterwards.
    """
import time
from pathlib import Path
end = time.monotonic() + 90
while not Path("drawn").exists() and time.monotonic() < end:
    time.sleep(0.05)
view.pad.counts = [0, 0, 0, 0, 14, 0, 0, 0] * 8  # an upright line""",
)

# anywidget waits 2 s for a model, by this function; here it waits so short that every model of the page is late.
IMPATIENT = """(() => {
    const timeout = AbortSignal.timeout.bind(AbortSignal);
    AbortSignal.timeout = time => timeout(time === 2000 ? 0 : time);
})()"""

BARS = "() => document.querySelector('.coto-drawing-pad .js-plotly-plot')?._fullData?.map(({y}) => Math.max(...y))"
INK = "() => document.querySelectorAll('.coto-drawing-pad .coto-pad-ink rect').length"


def test_figures_and_the_pad_follow_the_kernel(
    own_page: Page,
    run_all: Callable[..., list[dict[str, Any]]],
    open_until_found: Callable[..., None],
    write_notebook: Callable[..., str],
    lab: str,
    lab_folder: Path,
) -> None:
    notebook = write_notebook(CELLS)
    page = own_page
    page.add_init_script(IMPATIENT)
    asked: list[bytes | str] = []
    drawn = lab_folder / "drawn"
    drawn.unlink(missing_ok=True)

    def listen(socket: WebSocket) -> None:
        socket.on("framesent", lambda frame: asked.append(frame) if '"late"' in str(frame) else None)

    def follows() -> None:
        page.wait_for_function(f"({INK})() === 64")
        page.wait_for_function(f"({BARS})()?.every(best => best > 50)")
        assert len(asked) == 2, "the figure and the pad were to be late"

    def until_late(page: Page) -> None:
        page.wait_for_selector(".coto-drawing-pad .main-svg")
        end = time.monotonic() + 60
        while len(asked) < 2 and time.monotonic() < end:
            page.wait_for_timeout(50)
        drawn.touch()

    page.on("websocket", listen)
    assert run_all(page, notebook, meanwhile=until_late) == []
    follows()
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save').then(() => null)")

    def reload() -> None:
        asked.clear()
        page.goto(f"{lab}/lab/tree/{notebook}")

    open_until_found(page, reload, 1)
    follows()
    page.get_by_role("button", name="Clear").click()
    page.wait_for_function(f"({BARS})()?.every(best => best === 0)")
