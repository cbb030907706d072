"""The setup cell: what it prints and what it leaves set."""

import sys
import types

import nbformat
import plotly.io as pio
import pytest
import torch
from nbclient import NotebookClient

from coto_lab.notebook import setup


@pytest.fixture(autouse=True)
def as_before():
    renderer, threads = pio.renderers.default, torch.get_num_threads()
    yield
    pio.renderers.default = renderer
    torch.set_num_threads(threads)


def test_setup_prints_one_line_that_says_where_it_runs(capsys):
    setup(threads=1)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "a script" in line and "1 thread)" in line and f"torch {torch.__version__.split('+')[0]}" in line
    assert torch.get_num_threads() == 1


def test_setup_in_a_real_kernel_shows_figures_by_their_mime_type():
    cell = nbformat.v4.new_code_cell("from coto_lab.notebook import setup\nsetup()")
    notebook = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert " in Jupyter, " in output.text and "figures by plotly_mimetype" in output.text


def test_setup_on_colab_takes_its_renderer_without_the_button_that_uploads(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    setup()
    assert " in Colab, " in capsys.readouterr().out
    assert pio.renderers.default == "colab"
    assert pio.renderers["colab"].config["showSendToCloud"] is False


def test_setup_with_torch_built_for_an_accelerator_that_is_not_there_runs_on_the_cpu(capsys, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    setup()
    assert ", on CPU (" in capsys.readouterr().out
