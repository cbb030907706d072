"""Write what Colab needs into every notebook: ``python pages/colab.py``; with ``--check`` only say what differs.

Colab needs a badge in the first line of the first cell, and a cell before the setup cell that installs the lab. Both contain
the repository's public address, which is taken from ``[project.urls]`` of pyproject.toml.
"""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[1]
BADGE = "[![Open in Colab](open-in-colab.svg)]"
INSTALL = """\
# On Colab this installs the lab, holds Colab's torch as it is, and removes a torchao that keeps PEFT from making adapters;
# anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    from importlib.metadata import version

    held, lab = f"torch=={{version('torch')}}", "coto_lab[colab] @ git+{address}"
    %pip install --quiet "{{held}}" "{{lab}}"

    from coto_lab.notebook import remove_torchao

    remove_torchao()
"""


def repository(root: Path) -> str:
    """The repository's public address, without a slash at its end."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project["urls"]["Repository"].rstrip("/")


def with_colab(notebook: nbformat.NotebookNode, name: str, address: str) -> nbformat.NotebookNode:
    """The notebook with its badge and its install cell; it is changed in place and returned.

    Args:
        notebook: a notebook whose first cell is text, and which has a cell with the id ``"setup"``.
        name: the file name of the notebook.
        address: the address of the repository on GitHub.
    """
    title = notebook.cells[0]
    text = title.source.partition("\n")[2].lstrip("\n") if title.source.startswith(BADGE) else title.source
    place = address.replace("https://github.com/", "https://colab.research.google.com/github/", 1)
    title.source = f"{BADGE}({place}/blob/main/notebooks/{name})\n\n{text}"

    cells = [cell for cell in notebook.cells if cell.id != "install"]
    position = [cell.id for cell in cells].index("setup")
    cells.insert(position, nbformat.v4.new_code_cell(INSTALL.format(address=address).rstrip("\n"), id="install"))
    notebook.cells = cells
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository (%(default)s)")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a notebook differs")
    options = parser.parse_args()
    address = repository(options.root)
    differing = []
    for path in sorted(options.root.glob("notebooks/*.ipynb")):
        before = path.read_text(encoding="utf-8")
        after = nbformat.writes(with_colab(nbformat.reads(before, as_version=4), path.name, address)) + "\n"
        if after != before:
            differing.append(path)
            if not options.check:
                path.write_text(after, encoding="utf-8")
    for path in differing:
        print(f"{'differs' if options.check else 'written'}: {path.relative_to(options.root)}")
    if options.check and differing:
        sys.exit("fix: python pages/colab.py")


if __name__ == "__main__":
    main()
