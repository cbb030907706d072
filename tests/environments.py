"""Make an environment for the tests in ``.venv``: ``python tests/environments.py lowest`` (or ``colab``).

It holds the versions of ``tests/lowest.txt`` (or ``tests/colab.txt``), and torch with what torch needs: that is linked to where
it is installed already, as another build takes gigabytes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import nbformat
from jupyter_client import AsyncKernelManager, KernelManager
from jupyter_client.kernelspec import KernelSpec
from nbclient import NotebookClient
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FAST = {"COTO_LAB_FAST": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}


def python_in(folder: Path) -> Path:
    """The Python of an environment."""
    return folder / "bin/python"


def made(name: str) -> Path:
    """The Python of an environment that ``make test`` has made."""
    python = python_in(ROOT / ".venv" / name)
    assert python.exists(), f"{python} is missing: run make .venv/.{name}"
    return python


def kernels_of(python: Path, kind: type[KernelManager] = KernelManager) -> type[KernelManager]:
    """A manager of kernels that a Python runs."""

    class Manager(kind):
        @property
        def kernel_spec(self) -> KernelSpec:
            spec = super().kernel_spec
            spec.argv[0] = str(python)
            return spec

    return Manager


def run_notebook(notebook: nbformat.NotebookNode, python: Path, **environment: str) -> None:
    """Run every cell in the kernel of a Python, on the fast scale."""
    client = NotebookClient(
        notebook,
        timeout=120,
        kernel_manager_class=kernels_of(python, AsyncKernelManager),
        resources={"metadata": {"path": ROOT / "notebooks"}},
        store_widget_state=False,
    )
    client.execute(env=os.environ | FAST | environment)


def bare(folder: Path, *shown: Path) -> Path:
    """An environment with nothing of its own, which finds what lies in the given folders; its Python."""
    venv.create(folder, clear=True, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "shown.pth").write_text("".join(f"{path.resolve()}\n" for path in shown))
    return python_in(folder)


def needed_by(name: str, found: dict[str, Distribution]) -> dict[str, Distribution]:
    """A package and all that it needs, as far as that is installed here."""
    if name not in found:
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            return found
        for requirement in map(Requirement, found[name].requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                needed_by(requirement.name, found)
    return found


def parts(package: Distribution) -> Iterator[Path]:
    """The files and folders of a package that lie at the top of where it is installed."""
    names = {file.parts[0] for file in package.files or []} - {"..", "__pycache__"}
    return (Path(str(package.locate_file(name))) for name in names)


def make(name: str) -> None:
    folder, torch = ROOT / ".venv" / name, ROOT / ".venv" / name / "torch"
    python = str(bare(folder, torch))
    torch.mkdir()
    for package in needed_by("torch", {}).values():
        for part in parts(package):
            if not (torch / part.name).exists():  # packages may share a folder
                (torch / part.name).symlink_to(part)
    pip = [sys.executable, "-m", "pip", "--python", python]
    install = [*pip, "install", "--quiet", "--no-deps"]
    subprocess.run([*install, "--only-binary=:all:", "--no-compile", "-r", str(ROOT / f"tests/{name}.txt")], check=True)
    subprocess.run([*install, "-e", str(ROOT)], check=True)
    subprocess.run([*pip, "check"], check=True)


if __name__ == "__main__":
    try:
        make(sys.argv[1])
    except BaseException:
        shutil.rmtree(ROOT / ".venv" / sys.argv[1], ignore_errors=True)  # no half of one is taken for a whole
        raise
