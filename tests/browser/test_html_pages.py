"""Static figures in pages that know only HTML: what nbconvert writes, and the classic Notebook."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from environments import FAST, made
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Browser, Page

SETUP = "from coto_lab.notebook import setup\n\nhere = setup(threads=1)"
FIGURE = "from coto_lab import Linear\nfrom coto_lab.figures import ramp_figure\n\nramp_figure({'CoTo': Linear()})"
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
DRAWN = "() => document.querySelectorAll('.js-plotly-plot .main-svg path').length > 0"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a notebook of one figure."""
    notebook = new_notebook(cells=[new_code_cell(SETUP), new_code_cell(FIGURE)], metadata=KERNEL)
    nbformat.write(notebook, tmp_path / "small.ipynb")
    return tmp_path


def test_a_page_that_nbconvert_made_shows_its_figure_without_a_network(browser: Browser, folder: Path) -> None:
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", "small.ipynb"]
    done = subprocess.run(command, cwd=folder, env=os.environ | FAST, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "small.html").stat().st_size < 6e6, "plotly's JavaScript once"
    context = browser.new_context()
    context.route("**/*", lambda route: route.continue_() if route.request.url.startswith("file:") else route.abort())
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto((folder / "small.html").as_uri())
    page.wait_for_function(DRAWN)
    assert page.evaluate("() => document.querySelector('.js-plotly-plot').clientHeight") > 50
    # nbconvert's own template asks for these two.
    assert [url for url in asked if not url.startswith("file:") and "/require.js/" not in url and "/mathjax/2" not in url] == []
    context.close()


@pytest.fixture(params=[("nbclassic", "lowest"), ("notebook", "colab")], ids=["nbclassic", "Notebook 6"])
def classic(folder: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    """The address of a classic Notebook in an environment that has one."""
    program, environment = request.param
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    names = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")
    own = {name: str(folder / name.lower()) for name in names}
    options = ("--no-browser", "--allow-root", "--ServerApp.token=", "--NotebookApp.token=")
    command = [str(made(environment)), "-m", program, *options, f"--port={port}"]
    with (folder / "log.txt").open("wb") as log:
        server = subprocess.Popen(command, cwd=folder, env=os.environ | FAST | own, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while True:
            assert server.poll() is None and time.monotonic() < end, (folder / "log.txt").read_text()
            with socket.socket() as knock:
                if knock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}/notebooks/small.ipynb"
    finally:
        server.terminate()  # shuts the kernels down, too
        server.wait(20)


def test_the_classic_notebook_shows_a_figure(own_page: Page, classic: str) -> None:
    page = own_page
    page.goto(classic)
    page.wait_for_function("() => window.Jupyter?.notebook?.kernel?.is_connected()")
    page.evaluate("() => Jupyter.notebook.execute_all_cells()")
    page.wait_for_function(DRAWN)
    assert page.left_home == []  # type: ignore[attr-defined]
