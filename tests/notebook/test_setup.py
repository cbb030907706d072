"""The setup cell: what it prints, what it leaves set, and what it does where things are missing."""

import os
import subprocess
import sys
import types
from importlib.metadata import version
from pathlib import Path

import nbformat
import plotly.io as pio
import pytest
import torch
from nbclient import NotebookClient

from coto_lab.notebook import cell, diagnosis, place, setup, where


@pytest.fixture(autouse=True)
def as_before():
    renderer, threads, state = pio.renderers.default, torch.get_num_threads(), torch.random.get_rng_state()
    yield
    pio.renderers.default = renderer
    torch.set_num_threads(threads)
    torch.random.set_rng_state(state)


def said_in_a_kernel(**environment):
    """What the setup cell prints in a real kernel."""
    cell = nbformat.v4.new_code_cell("from coto_lab.notebook import setup\nhere = setup()\nprint(here.live)")
    document = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(document, timeout=120, kernel_name="python3").execute(env=os.environ | environment)
    return "".join(output.get("text", "") for output in document.cells[0].outputs)  # printed in one piece or two


def test_setup_prints_one_line_that_says_where_it_runs(capsys):
    here = setup(threads=1)
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert "a script" in line and "1 thread)" in line and f"torch {torch.__version__.split('+')[0]}" in line
    assert torch.get_num_threads() == 1
    assert not here.live and "static figures" in line


def test_setup_seeds_what_a_reader_draws_by_hand(capsys):
    setup()
    first = torch.rand(3)
    setup()
    assert torch.equal(first, torch.rand(3))


def test_in_a_kernel_without_a_server_nothing_is_live():
    said = said_in_a_kernel(COTO_LAB_FAST="")
    assert " in a headless kernel, " in said and "static figures by plotly_mimetype+notebook, full scale" in said
    assert said.endswith("False\n")


def test_in_a_kernel_of_a_jupyter_server_widgets_are_live():
    said = said_in_a_kernel(JPY_SESSION_NAME="x.ipynb", COTO_LAB_FAST="1")
    assert " in JupyterLab, " in said and "live figures by plotly_mimetype, fast scale" in said
    assert said.endswith("True\n")


def test_no_threads_are_refused():
    with pytest.raises(ValueError, match="threads=0: must be a whole number, at least 1"):
        setup(threads=0)


def test_a_kernel_started_from_vs_codes_terminal_is_not_vs_code(monkeypatch, in_a_kernel):
    monkeypatch.setenv("VSCODE_GIT_IPC_HANDLE", "/tmp/x.sock")
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert (where().place, where().live) == ("a headless kernel", False)


def test_vs_code_is_told_by_its_variables(monkeypatch, in_a_kernel):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.setenv("VSCODE_PID", "1")
    assert (where().place, where().live) == ("VS Code", True)


@pytest.mark.parametrize("variables", [{}, {"VSCODE_CWD": "/home/u"}, {"JPY_SESSION_NAME": "x.ipynb"}], ids=list)
def test_vs_code_is_told_by_the_notebooks_name(monkeypatch, variables):
    """Over SSH, in WSL and in a container there is no VSCODE_PID; the kernel may also be that of a Jupyter server."""
    shell = types.SimpleNamespace(kernel=1, user_ns={"__vsc_ipynb_file__": "/home/u/00_tour.ipynb"})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (where().place, where().live) == ("VS Code", True)


def test_jupyterlab_started_from_vs_code_is_jupyterlab(monkeypatch, in_a_kernel):
    monkeypatch.setenv("VSCODE_PID", "1")
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    assert where().place == "JupyterLab"


@pytest.mark.parametrize(
    ("variable", "place", "renderer"),
    [("KAGGLE_KERNEL_RUN_TYPE", "Kaggle", "kaggle"), ("DATABRICKS_RUNTIME_VERSION", "Databricks", "databricks")],
)
def test_kaggle_and_databricks_have_renderers_of_their_own_and_static_views(monkeypatch, capsys, variable, place, renderer):
    shell = types.SimpleNamespace(kernel=1, display_formatter=None)
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setenv(variable, "Interactive")
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    assert (where().place, where().live) == (place, False)
    setup()
    assert f" in {place}, " in capsys.readouterr().out
    assert pio.renderers.default == renderer


def test_without_anywidget_figures_are_static(monkeypatch, in_a_kernel):
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    assert where().live
    monkeypatch.setattr(place, "find_spec", lambda name: None if name == "anywidget" else object())
    assert not where().live


@pytest.mark.parametrize(("value", "fast"), [("1", True), ("0", False), ("", False)])
def test_the_scale_comes_from_the_environment(monkeypatch, value, fast):
    monkeypatch.setenv("COTO_LAB_FAST", value)
    assert where().scale(800, 100) == (100 if fast else 800)


def test_setup_on_colab_takes_its_renderer_without_the_button_that_uploads(capsys, colab):
    assert setup().live
    assert " in Colab, " in capsys.readouterr().out
    assert pio.renderers.default == "colab"
    assert pio.renderers["colab"].config["showSendToCloud"] is False
    assert colab.enabled == 1


def test_on_colab_pip_is_asked_for_what_is_missing_and_torch_is_held(capsys, colab, monkeypatch):
    """The command is run by the real pip, told to change nothing; what is "missing" here is there, so it needs no network."""
    asked = []
    run = subprocess.run

    def dry_run(command, **settings):
        asked.append((command, Path(command[command.index("--constraint") + 1]).read_text()))
        return run([*command, "--dry-run"], **settings)

    monkeypatch.setattr(subprocess, "run", dry_run)
    monkeypatch.setattr(cell, "unmet_requirements", lambda extra: {"jupyter_ui_poll>=1.0": "jupyter_ui_poll is missing"})
    setup()
    ((command, held),) = asked
    assert command[:4] == [sys.executable, "-m", "pip", "install"] and command[-1] == "jupyter_ui_poll>=1.0"
    assert held == f"torch=={version('torch')}\n"
    assert "installing jupyter_ui_poll>=1.0" in capsys.readouterr().out


def test_on_colab_a_failed_installation_says_what_pip_said(colab, monkeypatch):
    monkeypatch.setattr(cell, "unmet_requirements", lambda extra: {"coto_lab>=9999": "coto_lab is old"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RuntimeError, match=r"could not install coto_lab>=9999:[\s\S]*No matching distribution"):
        setup()


def test_elsewhere_nothing_is_installed(monkeypatch, capsys):
    monkeypatch.setattr(diagnosis, "unmet_requirements", lambda extra: {"plotly>=6.1": "plotly is 5.24.1"})
    monkeypatch.setattr(cell, "_install_missing", lambda: pytest.fail("only Colab's environment is ours to change"))
    setup()
    assert "doctor: plotly is 5.24.1. Fix: " in capsys.readouterr().out


def test_setup_with_torch_built_for_an_accelerator_that_is_not_there_runs_on_the_cpu(capsys, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    setup()
    assert ", on CPU (" in capsys.readouterr().out


def test_the_places_have_names_to_compare_with() -> None:
    from coto_lab import notebook

    assert notebook.where().place in {notebook.SCRIPT, notebook.HEADLESS}
    assert notebook._installed("torch") == version("torch") and notebook._installed("no such package") is None
