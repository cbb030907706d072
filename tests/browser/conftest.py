"""A real JupyterLab with a real kernel, and a real Chromium that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import real_browser
from playwright.sync_api import Browser, Page, TimeoutError, expect

ROOT = Path(__file__).parents[2]
HOME = {"127.0.0.1", "localhost"}

# Milliseconds that a test waits for something to show. This only ends a test that would fail anyway: a busy machine must not
# fail one, and `make bench` measures how quick the views are.
PATIENCE = 90_000
expect.set_options(timeout=PATIENCE)

pytest_runtest_makereport = real_browser.pytest_runtest_makereport

# Every cell is in the page, wherever it is scrolled to, and nothing pops up over it.
LAB_SETTINGS = {
    "@jupyterlab/apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension/plugin": {"autosave": False},  # it asks what to do where a file was written anew
    "@jupyterlab/notebook-extension/tracker": {"windowingMode": "none"},
}


@pytest.fixture(scope="session")
def lab_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `lab` shows: a copy of the notebooks."""
    folder = tmp_path_factory.mktemp("lab") / "notebooks"
    notebooks = Path(os.environ.get("COTO_LAB_NOTEBOOKS", ROOT / "notebooks"))
    shutil.copytree(notebooks, folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    return folder


@pytest.fixture
def write_notebook(lab_folder: Path, request: pytest.FixtureRequest) -> Callable[[Iterable[str]], str]:
    """``write_notebook(sources)`` writes a notebook of code cells into the folder that `lab` shows, and returns its name.

    It has the name of the test and so a kernel of its own: a page that opens a notebook asks its kernel for all widgets. Those
    of another test may be closed meanwhile.
    """
    name = f"{request.node.name}.ipynb"

    def write(sources: Iterable[str]) -> str:
        cells = [nbformat.v4.new_code_cell(source) for source in sources]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), lab_folder / name)
        return name

    return write


@pytest.fixture(scope="session")
def lab(lab_folder: Path) -> Iterator[str]:
    """The address of a JupyterLab of its own, with nobody's settings."""
    home = lab_folder.parent
    for name, values in LAB_SETTINGS.items():
        file = home / "settings" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_DATA_DIR": "data",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *("--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}", "--ServerApp.port_retries=0"),
        *("--IdentityProvider.token=", f"--ServerApp.root_dir={lab_folder}"),
        "--LabApp.extension_manager=readonly",  # the other one asks a package index
    ]
    log = home / "jupyterlab.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            command,
            cwd=home,
            env=os.environ | {variable: str(home / folder) for variable, folder in places.items()},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until(lambda: _answers(f"{url}/api/status"), 60, server, log)
        yield url
    finally:
        server.terminate()  # shuts the kernels down, too
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One for all tests of this folder."""
    with real_browser.chromium() as started:
        yield started


@pytest.fixture(scope="package")
def tabs(browser: Browser) -> list[Page]:
    """The page that stays open from test to test, if there is one."""
    return []


@pytest.fixture
def page(browser: Browser, request: pytest.FixtureRequest, tabs: list[Page]) -> Iterator[Page]:
    """The page in which one notebook after the other is opened: to load JupyterLab takes seconds.

    A test that failed may leave anything in it, so the next test gets a new one.
    """
    if not tabs:
        tabs.append(real_browser.open_page(browser, PATIENCE, HOME))
    page = tabs[0]
    page.set_viewport_size(real_browser.VIEWPORT)
    page.left_home.clear()  # type: ignore[attr-defined]
    page.errors.clear()  # type: ignore[attr-defined]
    yield page
    if real_browser.pictured_failure(page, request):
        tabs.pop().context.close()
    else:
        page.evaluate("() => Array.from(window.jupyterapp?.shell.widgets('main') ?? []).forEach(widget => widget.dispose())")


@pytest.fixture
def own_page(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """An empty page of the test's own."""
    with real_browser.watched_page(browser, request, PATIENCE, HOME) as page:
        yield page


@pytest.fixture
def run_all(lab: str) -> Callable[..., list[dict[str, Any]]]:
    """``run_all(page, notebook, timeout)`` opens a notebook, runs its cells and returns the error outputs.

    ``meanwhile(page)`` is called while they run, to do what a reader would.
    Fails when the cells have not all run after ``timeout`` seconds.
    """

    def run(
        page: Page, notebook: str, timeout: float = 300, meanwhile: Callable[[Page], None] | None = None
    ) -> list[dict[str, Any]]:
        if page.url.startswith(f"{lab}/lab"):
            page.evaluate(_OPEN, notebook)
        else:
            page.goto(f"{lab}/lab/tree/{notebook}?reset")
        page.wait_for_function(_KERNEL_IDLE)
        # Its promise settles when the last cell has; ours must not wait for it, or no time limit would hold.
        page.evaluate("""() => {
            window.ranAll = false;
            window.jupyterapp.commands.execute('notebook:run-all-cells').finally(() => { window.ranAll = true; });
        }""")
        end = time.monotonic() + timeout
        if meanwhile is not None:
            meanwhile(page)
        try:
            page.wait_for_function(_ALL_RAN, polling=100, timeout=1000 * max(1, end - time.monotonic()))
        except TimeoutError:
            pytest.fail(f"{notebook} still runs after {timeout} s: {page.evaluate(_PROGRESS)}")
        return page.evaluate(_PROGRESS)["errors"]

    return run


@pytest.fixture
def add_and_run() -> Callable[[Page, str], None]:
    """``add_and_run(page, code)`` puts a cell at the notebook's end, and asks to run it."""

    def add(page: Page, code: str) -> None:
        page.evaluate(_ADD_AND_RUN, code)

    return add


_ADD_AND_RUN = """async (code) => {
    const { commands, shell } = window.jupyterapp;
    const notebook = shell.currentWidget.content;
    notebook.activeCellIndex = notebook.widgets.length - 1;
    await commands.execute('notebook:insert-cell-below');
    notebook.activeCell.model.sharedModel.setSource(code);
    await commands.execute('notebook:run-cell');
}"""


@pytest.fixture
def open_until_found() -> Callable[[Page, Callable[[], object], int], None]:
    """``open_until_found(page, open_notebook, n)`` opens a notebook that ran, and again if JupyterLab did not find its n views.

    JupyterLab's renderer looks for a model for two seconds. On a busy machine the models may arrive while the page is blocked;
    the renderer then gives up without a last look, and shows an error for ever, whatever the widget is.
    """

    def open_it(page: Page, open_notebook: Callable[[], object], n: int) -> None:
        for _ in range(10):
            open_notebook()
            if page.wait_for_function(_VIEWS, arg=n).json_value() == "all found":
                return
        pytest.fail(f"JupyterLab never found all {n} views")

    return open_it


# What became of the n views, once that is known. A view is the last output of its cell: bars of progress may come before it.
_VIEWS = """n => {
    const cells = Array.from(window.jupyterapp?.shell?.currentWidget?.content?.widgets ?? []);
    const last = cells.map(cell => Array.from(cell.node.querySelectorAll('.jp-OutputArea-output')).at(-1)).filter(Boolean);
    const found = last.map(output => output.querySelector('.coto-view') !== null);
    const known = last.length === n && last.every((output, i) => found[i] || output.innerText.includes('model not found'));
    return known && (found.every(Boolean) ? 'all found' : 'some given up');
}"""

# For each plotly figure in the page, how many values each of its traces shows.
_TRACE_SIZES = """() => Array.from(document.querySelectorAll('.js-plotly-plot')).map(figure =>
    figure._fullData.map(trace => (trace.y ?? trace.z ?? trace.x ?? trace.values ?? trace.a ?? []).length))"""

# What is wrong with the toolbars: buttons that would send a chart somewhere, by what they say or by how they are set up.
_UPLOADS = """() => Array.from(document.querySelectorAll('.js-plotly-plot')).flatMap(figure => {
    const said = Array.from(figure.querySelectorAll('.modebar-btn'))
        .map(button => button.getAttribute('data-title') ?? button.getAttribute('aria-label') ?? '')
        .filter(title => /cloud|studio|upload|share/i.test(title));
    const {showSendToCloud, showEditInChartStudio} = figure._context;
    return [...said, ...(showSendToCloud || showEditInChartStudio ? ['a setting that allows it'] : [])];
})"""


@pytest.fixture
def assert_healthy() -> Callable[[Page], None]:
    """``assert_healthy(page)``: every figure is there and has data, none can be uploaded, and no request left this machine."""

    def check(page: Page) -> None:
        page.wait_for_selector(".js-plotly-plot .main-svg")
        page.wait_for_function(f"({_TRACE_SIZES})().every(sizes => Math.max(0, ...sizes) > 0)")
        drawn = page.evaluate("() => Array.from(document.querySelectorAll('.js-plotly-plot')).map(f => f.clientHeight)")
        assert drawn and min(drawn) > 50, f"figures of heights {drawn} in the page"
        assert page.evaluate(_UPLOADS) == []
        assert page.left_home == []  # type: ignore[attr-defined]

    return check


_KERNEL_IDLE = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"

# Open a notebook, and close what JupyterLab shows where nothing is open.
_OPEN = """async path => {
    const { commands, shell } = window.jupyterapp;
    const before = Array.from(shell.widgets('main'));
    const opened = await commands.execute('docmanager:open', { path });
    await opened.context.ready;
    before.filter(widget => widget !== opened).forEach(widget => widget.dispose());
    shell.activateById(opened.id);
}"""

# The error outputs, and the places of the cells that have not run. Other outputs stay in the page: they are megabytes.
_PROGRESS = """() => {
    const cells = Array.from(window.jupyterapp.shell.currentWidget.content.model.cells);
    const code = cells.map((cell, index) => ({cell, index}))
        .filter(({cell}) => cell.type === 'code' && cell.sharedModel.getSource().trim() !== '');
    const outputs = code.flatMap(({cell}) => Array.from({length: cell.outputs.length}, (_, i) => cell.outputs.get(i)));
    return {
        errors: outputs.filter(output => output.type === 'error').map(output => output.toJSON()),
        waiting: code.filter(({cell}) => cell.executionCount === null).map(({index}) => index),
    };
}"""

_ALL_RAN = f"""() => {{
    if (!window.ranAll || !({_KERNEL_IDLE})) return false;
    const {{ errors, waiting }} = ({_PROGRESS})();
    return errors.length > 0 || waiting.length === 0;
}}"""


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except OSError:
        return False


def _wait_until(ready: Callable[[], bool], seconds: float, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + seconds
    while not ready():
        if server.poll() is not None or time.monotonic() > end:
            pytest.fail(f"JupyterLab did not start within {seconds} s:\n{log.read_text()}", pytrace=False)
        time.sleep(0.2)
