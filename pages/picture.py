"""Make the README's picture again: ``python pages/picture.py`` trains in notebook 03 and writes ``pages/live.png``.

JupyterLab runs the notebook in a temporary folder, from its start to the cell that trains, and Chromium takes a picture of the
live view.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[1]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
VIEW, TRAINS = ".coto-live", "train"  # the CSS class of the view, and the id of the cell that trains
SETTINGS = {"@jupyterlab/apputils-extension/notification.jupyterlab-settings": {"fetchNews": "false", "checkForUpdates": False}}
IDLE = "window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === 'idle'"
RUN = "() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }"


def until_trained(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook with only its code cells up to the cell that trains; it is changed in place and returned."""
    names = [cell.id for cell in notebook.cells]
    notebook.cells = [cell for cell in notebook.cells[: names.index(TRAINS) + 1] if cell.cell_type == "code"]
    return notebook


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """Start a JupyterLab with default settings in ``folder``, and give its address."""
    for name, values in SETTINGS.items():
        file = folder / "settings" / name
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    places = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
    }
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *(f"--ServerApp.port={port}", "--IdentityProvider.token=", "--LabApp.extension_manager=readonly"),
    ]
    environment = os.environ | {name: str(folder / place) for name, place in places.items()}
    server = subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.DEVNULL)
    try:
        url, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{url}/api/status", timeout=5).close()
                break
            except OSError:
                if time.monotonic() > end or server.poll() is not None:
                    raise RuntimeError("JupyterLab did not start within a minute") from None
                time.sleep(0.2)
        yield url
    finally:
        server.terminate()  # this shuts down the kernel too
        server.wait(90)  # a busy machine takes long to end its kernels


def take(out: Path, chromium: str) -> None:
    """Train in notebook 03, and write the picture of its live view to ``out``."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        notebook = nbformat.read(ROOT / "notebooks/03_training_live.ipynb", as_version=4)
        nbformat.write(until_trained(notebook), Path(folder, "live.ipynb"))
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with jupyterlab(Path(folder)) as url:
            page = browser.new_page(viewport={"width": 1500, "height": 1400}, device_scale_factor=1.5)
            page.goto(f"{url}/doc/tree/live.ipynb?reset")
            page.wait_for_function(IDLE, timeout=90_000)
            page.evaluate(RUN)
            page.get_by_text("Finished: ").last.wait_for(timeout=600_000)
            page.wait_for_timeout(2_000)  # wait for the last drawing
            page.locator(VIEW).first.screenshot(path=out)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "pages/live.png", help="where the picture goes (%(default)s)")
    options = parser.parse_args()
    chromium = os.environ.get("COTO_LAB_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        sys.exit("Chromium is needed. On Debian: apt-get install chromium. Elsewhere set COTO_LAB_CHROMIUM to its path.")
    take(options.out, chromium)
    print(f"{options.out}: {options.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
