"""The renderer for pages that know only HTML, in real kernels."""

from __future__ import annotations

import os

import plotly.io as pio
import pytest
from environments import FAST
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from coto_lab.notebook.renderers import use_renderer

SETUP = "from coto_lab.notebook import setup\n\nsetup(threads=1)"
FIGURE = "import plotly.graph_objects as go\n\ngo.Figure(go.Scatter(y=[1, 4, 9]))"


def run(**environment: str) -> tuple[int, dict[str, str]]:
    """How many characters of HTML the setup cell put out, and what a figure's output holds."""
    document = new_notebook(cells=[new_code_cell(SETUP), new_code_cell(FIGURE)])
    NotebookClient(document, timeout=120, kernel_name="python3").execute(env=os.environ | FAST | environment)
    first, second = (cell.outputs for cell in document.cells)
    return sum(len(output.get("data", {}).get("text/html", "")) for output in first), second[0].data


def test_a_headless_kernel_writes_figures_as_html_too_and_the_javascript_once() -> None:
    javascript, figure = run()
    assert 2e6 < javascript < 6e6
    assert set(figure) == {"application/vnd.plotly.v1+json", "text/html"}
    assert len(figure["text/html"]) < 20_000 and "://" not in figure["text/html"], "nothing from another machine"
    assert '"showSendToCloud": false' in figure["text/html"]


def test_jupyterlab_gets_no_javascript() -> None:
    javascript, figure = run(JPY_SESSION_NAME="x.ipynb")
    assert javascript < 5_000 and set(figure) == {"application/vnd.plotly.v1+json"}


def test_plotlys_own_variable_goes_before_the_choice() -> None:
    javascript, figure = run(JPY_SESSION_NAME="x.ipynb", PLOTLY_RENDERER="plotly_mimetype+notebook")
    assert javascript > 2e6 and "text/html" in figure
    javascript, figure = run(PLOTLY_RENDERER="plotly_mimetype")
    assert javascript < 5_000 and "text/html" not in figure


def test_an_unknown_renderer_is_refused() -> None:
    before = pio.renderers.default
    with pytest.raises(ValueError, match="papyrus"):
        use_renderer("papyrus")
    assert pio.renderers.default == before
