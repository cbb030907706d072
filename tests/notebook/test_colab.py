"""Badges and install cells: they agree with the one address and the file names, and the cell does on Colab what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
ADDRESS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]

PRETEND = "import sys, types\n\nsys.modules['google.colab'] = types.ModuleType('google.colab')"
FAKE_PIP = "import json, os, sys\n\nwith open(os.environ['TOLD'], 'w') as told:\n    json.dump(sys.argv[1:], told)\n"


def colab(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "pages/colab.py"), "--root", str(root), *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository at an address of its own, with one notebook that has neither badge nor install cell."""
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/some/where/"\n')
    cells = [new_markdown_cell("# Title\n\nText.", id="title"), new_code_cell("x = 1", id="setup")]
    nbformat.write(new_notebook(cells=cells), tmp_path / "notebooks/00_new.ipynb")
    return tmp_path


def install_cell(notebook: Path) -> str:
    (source,) = [cell.source for cell in nbformat.read(notebook, as_version=4).cells if cell.id == "install"]
    return source


# The notebooks


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_badge_and_cell_agree_with_address_and_name(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    owner_and_name = ADDRESS.removeprefix("https://github.com/")
    badge, empty, title = cells[0].source.split("\n")[:3]
    link = f"https://colab.research.google.com/github/{owner_and_name}/blob/main/notebooks/{path.name}"
    assert (badge, empty) == (f"[![Open in Colab](open-in-colab.svg)]({link})", "") and title.startswith("# ")
    assert [cell.id for cell in cells if cell.cell_type == "code"][:2] == ["install", "setup"]
    assert re.findall(r"git\+([^\"]+)", install_cell(path)) == [ADDRESS]


def test_script_has_been_run() -> None:
    done = colab(ROOT, "--check")
    assert done.returncode == 0, done.stdout + done.stderr


def test_address_stands_in_one_place() -> None:
    command = ["git", "grep", "-l", "--untracked", "-F", ADDRESS.removeprefix("https://"), "--", ":!notebooks"]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.split() == ["pyproject.toml"]


def test_badge_is_our_own_picture() -> None:
    picture = ElementTree.parse(ROOT / "notebooks/open-in-colab.svg").getroot()
    assert picture.get("aria-label") == "Open in Colab"
    assert not [element for element in picture.iter() if any("href" in name for name in element.attrib)]


# The script


def test_script_writes_once(root: Path) -> None:
    path = root / "notebooks/00_new.ipynb"
    before = path.read_bytes()
    asked = colab(root, "--check")
    assert asked.returncode == 1 and asked.stdout == "differs: notebooks/00_new.ipynb\n"
    assert path.read_bytes() == before

    assert colab(root).stdout == "written: notebooks/00_new.ipynb\n"
    once = path.read_bytes()
    assert colab(root).stdout == "" and path.read_bytes() == once
    assert colab(root, "--check").returncode == 0


def test_script_follows_the_address_and_keeps_the_rest(root: Path) -> None:
    path = root / "notebooks/00_new.ipynb"
    colab(root)
    (root / "pyproject.toml").write_text('[project.urls]\nRepository = "https://github.com/else/where"\n')
    path = path.rename(root / "notebooks/01_renamed.ipynb")
    colab(root)
    title, install, setup = nbformat.read(path, as_version=4).cells
    assert title.source == (
        "[![Open in Colab](open-in-colab.svg)]"
        "(https://colab.research.google.com/github/else/where/blob/main/notebooks/01_renamed.ipynb)\n\n# Title\n\nText."
    )
    assert "git+https://github.com/else/where" in install.source and "some" not in install.source
    assert setup.source == "x = 1"


# The cell, in a real kernel


def run(source: str, folder: Path, before: str = "") -> list[nbformat.NotebookNode]:
    """The outputs of a cell after another one."""
    notebook = new_notebook(cells=[new_code_cell(before), new_code_cell(source)])
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    return notebook.cells[1].outputs


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that gets the words that pip is called with; kernels find a pip that writes them, and does nothing else."""
    (tmp_path / "fake/pip").mkdir(parents=True)
    for name, text in {"__init__": "", "__main__": FAKE_PIP}.items():
        (tmp_path / f"fake/pip/{name}.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "fake"), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TOLD", str(tmp_path / "told.json"))
    return tmp_path / "told.json"


def test_elsewhere_the_cell_does_nothing(root: Path, told: Path) -> None:
    colab(root)
    assert run(install_cell(root / "notebooks/00_new.ipynb"), root) == []
    assert not told.exists()


def test_on_colab_the_cell_installs_and_holds_torch(root: Path, told: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colab(root)
    run(install_cell(root / "notebooks/00_new.ipynb"), root, before=PRETEND)
    words = json.loads(told.read_text())
    held = f"torch=={version('torch')}"
    assert words == ["install", "--quiet", held, "coto_lab[colab] @ git+https://github.com/some/where"]

    # The real pip understands these words, and would leave torch alone. Without a network: this checkout, and no index.
    monkeypatch.undo()
    here = shutil.copytree(ROOT, root / "here", ignore=shutil.ignore_patterns(".*", "runs", "_site", "notebooks", "tests"))
    offline = ["--dry-run", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", words[0], *offline, held, f"coto_lab[colab] @ {here.as_uri()}"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^Would install (.*)", done.stdout, flags=re.M) == [f"coto_lab-{version('coto_lab')}"]
