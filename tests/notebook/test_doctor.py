"""What does not fit together on this machine, as doctor() tells it; and a torchao that PEFT refuses."""

import subprocess
import sys
import types
from importlib.metadata import version

import peft
import pytest
import torch

from coto_lab.notebook import diagnosis, doctor, remove_torchao, where


def test_doctor_finds_nothing_wrong_here():
    assert doctor() == []


def test_doctor_names_what_is_old_or_missing_and_the_fix(monkeypatch):
    found = {"plotly": "5.24.1", "anywidget": None}
    monkeypatch.setattr(diagnosis, "installed", lambda name: found.get(name, "99"))
    complaints = doctor()
    assert any(line.startswith("plotly is 5.24.1. Fix: ") and 'install "plotly>=6.1"' in line for line in complaints)
    assert any(line.startswith("anywidget is missing. Fix: ") for line in complaints)


def test_doctor_compares_the_two_halves_of_ipywidgets(monkeypatch):
    real = diagnosis.installed
    monkeypatch.setattr(diagnosis, "installed", lambda name: "3.6.0" if name == "widgetsnbextension" else real(name))
    (complaint,) = doctor()
    assert "does not go with widgetsnbextension 3.6.0" in complaint


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A real environment of a notebook server, in which packages are put by name and version; and a process of it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "server"], check=True)
    (site,) = (tmp_path / "server").glob("lib/python*/site-packages")
    command = [tmp_path / "server/bin/python", "-c", "print(flush=True); input()"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()  # Popen returns while the kernel still makes the process, which has no command line yet
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
    assert "widgets stay empty" in complaints[0] and "static figures stay blank in its page" in complaints[2]
    assert 'server/bin/python -m pip install "plotly==' in complaints[2]


def test_doctor_asks_the_server_whose_kernel_vs_code_uses(monkeypatch, server):
    server(**{name: version(name) for name in ("anywidget", "jupyterlab_widgets")})
    shell = types.SimpleNamespace(kernel=1, user_ns={"__vsc_ipynb_file__": "/home/u/00_tour.ipynb"})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    assert [line.split(" in the")[0] for line in doctor()] == ["plotly is missing"]


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
    real = diagnosis.installed
    monkeypatch.setattr(diagnosis, "installed", lambda name: None if name == "jupyterlab" else real(name))
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
