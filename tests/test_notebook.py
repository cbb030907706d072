"""The setup cell: what it prints, what it leaves set, and what it does where things are missing."""

import os
import subprocess
import sys
import types
from importlib.metadata import version

import nbformat
import peft
import plotly.io as pio
import pytest
import torch
from nbclient import NotebookClient

from coto_lab import notebook
from coto_lab.notebook import doctor, remove_torchao, setup, where


@pytest.fixture(autouse=True)
def as_before():
    renderer, threads, state = pio.renderers.default, torch.get_num_threads(), torch.random.get_rng_state()
    yield
    pio.renderers.default = renderer
    torch.set_num_threads(threads)
    torch.random.set_rng_state(state)


@pytest.fixture
def colab(monkeypatch):
    """The module that Colab has, as far as the lab uses it; counts how often custom widgets were enabled."""
    package, output = types.ModuleType("google.colab"), types.ModuleType("google.colab.output")
    output.enabled = 0

    def enable_custom_widget_manager():
        output.enabled += 1

    output.enable_custom_widget_manager = enable_custom_widget_manager
    package.output = output
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.setitem(sys.modules, "google.colab.output", output)
    return output


def said_in_a_kernel(**environment):
    """What the setup cell prints in a real kernel."""
    cell = nbformat.v4.new_code_cell("from coto_lab.notebook import setup\nhere = setup()\nprint(here.live)")
    document = nbformat.v4.new_notebook(cells=[cell])
    NotebookClient(document, timeout=120, kernel_name="python3").execute(env=os.environ | environment)
    return "".join(output.get("text", "") for output in document.cells[0].outputs)  # printed in one piece or two


@pytest.fixture
def in_a_kernel(monkeypatch):
    """As far as `where` can tell."""
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: types.SimpleNamespace(kernel=1)))


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
    monkeypatch.setattr(notebook, "find_spec", lambda name: None if name == "anywidget" else object())
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
        asked.append((command, notebook.Path(command[command.index("--constraint") + 1]).read_text()))
        return run([*command, "--dry-run"], **settings)

    monkeypatch.setattr(subprocess, "run", dry_run)
    monkeypatch.setattr(notebook, "_unmet", lambda extra: {"jupyter_ui_poll>=1.0": "jupyter_ui_poll is missing"})
    setup()
    ((command, held),) = asked
    assert command[:4] == [sys.executable, "-m", "pip", "install"] and command[-1] == "jupyter_ui_poll>=1.0"
    assert held == f"torch=={version('torch')}\n"
    assert "installing jupyter_ui_poll>=1.0" in capsys.readouterr().out


def test_on_colab_a_failed_installation_says_what_pip_said(colab, monkeypatch):
    monkeypatch.setattr(notebook, "_unmet", lambda extra: {"coto_lab>=9999": "coto_lab is old"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with pytest.raises(RuntimeError, match=r"could not install coto_lab>=9999:[\s\S]*No matching distribution"):
        setup()


def test_elsewhere_nothing_is_installed(monkeypatch, capsys):
    monkeypatch.setattr(notebook, "_unmet", lambda extra: {"plotly>=6.1": "plotly is 5.24.1"})
    monkeypatch.setattr(notebook, "_install_missing", lambda: pytest.fail("only Colab's environment is ours to change"))
    setup()
    assert "doctor: plotly is 5.24.1. Fix: " in capsys.readouterr().out


def test_doctor_finds_nothing_wrong_here():
    assert doctor() == []


def test_doctor_names_what_is_old_or_missing_and_the_fix(monkeypatch):
    found = {"plotly": "5.24.1", "anywidget": None}
    monkeypatch.setattr(notebook, "_installed", lambda name: found.get(name, "99"))
    complaints = doctor()
    assert any(line.startswith("plotly is 5.24.1. Fix: ") and 'install "plotly>=6.1"' in line for line in complaints)
    assert any(line.startswith("anywidget is missing. Fix: ") for line in complaints)


def test_doctor_compares_the_two_halves_of_ipywidgets(monkeypatch):
    real = notebook._installed
    monkeypatch.setattr(notebook, "_installed", lambda name: "3.6.0" if name == "widgetsnbextension" else real(name))
    (complaint,) = doctor()
    assert "does not go with widgetsnbextension 3.6.0" in complaint


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A real environment of a notebook server, in which packages are put by name and version; and a process of it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "server"], check=True)
    (site,) = (tmp_path / "server").glob("lib/python*/site-packages")
    process = subprocess.Popen([tmp_path / "server/bin/python", "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setenv("JPY_PARENT_PID", str(process.pid))

    def holds(**packages):
        for name, number in packages.items():
            (site / f"{name}-{number}.dist-info").mkdir()
            text = f"Metadata-Version: 2.1\nName: {name.replace('_', '-')}\nVersion: {number}\n"
            (site / f"{name}-{number}.dist-info/METADATA").write_text(text)

    yield holds
    process.communicate(b"\n")


def patched(name):
    """A version of a package that differs from ours in its last part only."""
    return ".".join([*version(name).split(".")[:2], "99"])


def test_doctor_asks_the_environment_of_the_notebook_server(server):
    complaints = doctor()
    assert [line.split(" in the")[0] for line in complaints] == [
        "jupyterlab_widgets is missing", "anywidget is missing", "plotly is missing"
    ]  # fmt: skip
    assert "widgets stay empty" in complaints[0] and "static figures stay blank" in complaints[2]
    assert 'server/bin/python -m pip install "plotly==' in complaints[2]


def test_doctor_is_content_with_other_patch_versions(server):
    server(**{name: patched(name) for name in ("anywidget", "jupyterlab_widgets", "plotly")})
    assert doctor() == []


def test_doctor_names_other_versions_that_matter(server):
    server(anywidget="0.1.2", jupyterlab_widgets="1.1.11", plotly="5.24.1")  # of ipywidgets 7, and without typed arrays
    said = [line.split(";")[0] for line in doctor()]
    assert said == [
        "jupyterlab_widgets is 1.1.11 in the notebook server's environment, and this kernel needs jupyterlab_widgets==3.*",
        "anywidget is 0.1.2 in the notebook server's environment, and this kernel needs anywidget==0.11.*",
        "plotly is 5.24.1 in the notebook server's environment, and this kernel needs plotly==7.*",
    ]


@pytest.mark.parametrize("place", ["colab", "in_a_kernel"])
def test_doctor_asks_no_server_where_the_page_takes_nothing_from_it(monkeypatch, server, request, place):
    request.getfixturevalue(place)  # in a kernel that nbclient started, that is
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    assert doctor() == []


def test_a_kernel_needs_no_jupyterlab_where_the_page_is_anothers(monkeypatch, in_a_kernel, server):
    server(**{name: version(name) for name in ("anywidget", "jupyterlab_widgets", "plotly")})
    real = notebook._installed
    monkeypatch.setattr(notebook, "_installed", lambda name: None if name == "jupyterlab" else real(name))
    monkeypatch.setenv("JPY_SESSION_NAME", "x.ipynb")
    assert doctor() == []  # JupyterLab is the server's
    monkeypatch.delenv("JPY_PARENT_PID")
    assert [line.split(". ")[0] for line in doctor()] == ["jupyterlab is missing"]
    monkeypatch.delenv("JPY_SESSION_NAME")
    monkeypatch.setenv("VSCODE_PID", "1")
    assert (where().place, doctor()) == ("VS Code", [])


@pytest.fixture(params=["torchao", "gptqmodel"])
def refused(request, tmp_path, monkeypatch):
    """A package that is too old for PEFT, as far as PEFT looks: for torchao, what Colab has."""
    (tmp_path / f"{request.param}.py").touch()
    (tmp_path / f"{request.param}-0.10.0.dist-info").mkdir()
    metadata = f"Metadata-Version: 2.1\nName: {request.param}\nVersion: 0.10.0\n"
    (tmp_path / f"{request.param}-0.10.0.dist-info/METADATA").write_text(metadata)
    monkeypatch.syspath_prepend(tmp_path)
    check = getattr(peft.import_utils, f"is_{request.param}_available")  # asked before, it remembers
    check.cache_clear()
    yield request.param
    check.cache_clear()


def test_doctor_names_what_peft_refuses(refused):
    with pytest.raises(ImportError, match=refused):  # so PEFT does refuse it
        peft.get_peft_model(torch.nn.Sequential(torch.nn.Linear(2, 2)), peft.LoraConfig(target_modules=["0"]))
    (complaint,) = doctor()
    assert (
        complaint.startswith(f"PEFT cannot add adapters while this {refused} is installed. PEFT says: ")
        and "0.10.0" in complaint
    )
    assert complaint.endswith(f"Fix: {sys.executable} -m pip uninstall --yes {refused}, then restart the kernel")


def test_only_torchao_is_removed_and_only_on_colab(refused, capsys, request):
    remove_torchao()
    if refused != "torchao":
        request.getfixturevalue("colab")
        remove_torchao()
    assert capsys.readouterr().out == "" and [line for line in doctor() if refused in line]


@pytest.mark.parametrize("refused", ["torchao"], indirect=True)
def test_a_torchao_that_stays_is_an_error(refused, colab):
    """pip does not find this one, and is content."""
    with pytest.raises(RuntimeError, match=r"could not uninstall torchao 0.10.0:[\s\S]*not installed"):
        remove_torchao()


def test_setup_with_torch_built_for_an_accelerator_that_is_not_there_runs_on_the_cpu(capsys, monkeypatch):
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: False)
    setup()
    assert ", on CPU (" in capsys.readouterr().out
