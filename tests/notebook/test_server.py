"""The Python of the Jupyter server that started a kernel, told from real processes and files."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from coto_lab.notebook import doctor
from coto_lab.notebook import server as server_module
from coto_lab.notebook.server import is_nbclassic, is_ours, server_python, versions_in

OURS = Path(sys.executable)
WAITS = "print(flush=True); input()"


@contextmanager
def started(*command: str, **settings: object) -> Iterator[str]:
    """The number of a process that waits."""
    process = subprocess.Popen([*command, "-c", WAITS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, **settings)
    try:
        process.stdout.readline()  # Popen returns while the kernel still makes the process, which has no command line yet
        yield str(process.pid)
    finally:
        process.communicate(b"\n")


def test_without_a_server_it_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    assert server_python() == OURS and is_ours(OURS)


@pytest.mark.parametrize("number", ["999999999", "-1", "0", "no number"])
def test_what_is_no_process_cannot_be_told(monkeypatch: pytest.MonkeyPatch, number: str) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", number)
    assert server_python() is None


def test_a_server_that_is_no_python_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    process = subprocess.Popen(["sleep", "60"])
    monkeypatch.setenv("JPY_PARENT_PID", str(process.pid))
    assert server_python() is None
    process.kill()
    process.wait()


def test_a_python_that_was_found_on_the_servers_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").symlink_to(OURS)
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])
    with started("python", executable=str(OURS), env=os.environ | {"PATH": path}) as number:
        monkeypatch.setenv("JPY_PARENT_PID", number)
        assert server_python() == tmp_path / "bin/python"
        assert not is_ours(tmp_path / "bin/python")


def test_a_python_that_was_named_from_the_servers_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "env/bin").mkdir(parents=True)
    (tmp_path / "env/bin/python").symlink_to(OURS)
    with started("env/bin/python", cwd=tmp_path, executable=str(OURS)) as number:
        monkeypatch.setenv("JPY_PARENT_PID", number)
        assert server_python() == tmp_path / "env/bin/python"


@pytest.mark.parametrize(
    ("program", "python"),
    [
        ("Scripts/python.exe", "Scripts/python.exe"),
        ("Scripts/pythonw.exe", "Scripts/pythonw.exe"),
        ("Scripts/jupyter-lab.exe", "Scripts/python.exe"),
        ("Scripts/Jupyter-Lab.EXE", "Scripts/python.exe"),
        ("Scripts/jupyter-lab.exe", "python.exe"),  # conda has it above
        ("bin/jupyterhub-singleuser", "bin/python"),
    ],
)
def test_launchers_have_their_python_beside_them(tmp_path: Path, program: str, python: str) -> None:
    for name in {program, python}:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert server_module._python_of(tmp_path / program) == tmp_path / python


@pytest.mark.parametrize("program", ["Scripts/jupyter-lab.exe", "bin/node", "bin/code"])
def test_other_programs_and_launchers_without_one_have_none(tmp_path: Path, program: str) -> None:
    if "jupyter" not in program:
        (tmp_path / program).parent.mkdir()
        (tmp_path / program).parent.joinpath("python").touch()
    assert server_module._python_of(tmp_path / program) is None


def test_versions_are_asked_by_any_spelling() -> None:
    assert versions_in(OURS, ["jupyterlab_widgets", "jupyterlab-widgets", "no_such_package"]) == {
        "jupyterlab_widgets": version("jupyterlab_widgets"),
        "jupyterlab-widgets": version("jupyterlab_widgets"),
        "no_such_package": None,
    }


def test_a_python_that_does_not_answer_says_nothing(tmp_path: Path) -> None:
    assert versions_in(tmp_path / "python", ["plotly"]) == {}
    assert not is_ours(tmp_path / "missing/python")


def test_a_server_that_is_gone_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JPY_PARENT_PID", "999999999")
    assert server_python() is None and doctor() == []


@pytest.mark.parametrize(
    ("program", "classic"),
    [("jupyter-nbclassic", True), ("jupyter-lab", False), ("jupyter-notebook", False), ("nbclassics", False)],
)
def test_nbclassic_is_known_by_its_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, classic: bool
) -> None:
    (tmp_path / program).write_text(WAITS)
    with started(str(OURS), str(tmp_path / program)) as number:
        monkeypatch.setenv("JPY_PARENT_PID", number)
        assert is_nbclassic() == classic


@pytest.mark.parametrize("number", ["999999999", "no number", None])
def test_without_a_server_it_is_no_nbclassic(monkeypatch: pytest.MonkeyPatch, number: str | None) -> None:
    monkeypatch.delenv("JPY_PARENT_PID", raising=False)
    if number is not None:
        monkeypatch.setenv("JPY_PARENT_PID", number)
    assert not is_nbclassic()
