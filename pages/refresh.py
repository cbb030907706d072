"""Run notebooks and store them in the repository's form: ``python pages/refresh.py notebooks/00_tour.ipynb ...``.

A notebook in the repository keeps the outputs of its ``# NBVAL_CHECK_OUTPUT`` cells, which nbval compares, and no other
outputs. It has no metadata of widgets, because GitHub refuses these without their state. It has no Python version, because the
reader may have another version.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from coto_lab.ground.files import write_file

CHECKED = "# NBVAL_CHECK_OUTPUT"


def execute(path: Path) -> nbformat.NotebookNode:
    """The notebook with all its outputs, run in its own folder; the file does not change."""
    notebook = nbformat.read(path, as_version=4)
    place = {"metadata": {"path": path.parent}}
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", store_widget_state=False, resources=place)
    return client.execute(env=os.environ | {"PLOTLY_RENDERER": "plotly_mimetype"})  # without 5 MB of JavaScript


def clean(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The notebook in the form in which it is stored; it is changed in place and returned."""
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook.metadata = nbformat.from_dict({"kernelspec": kernel, "language_info": {"name": "python"}})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code" and not cell.source.startswith(CHECKED):
            cell.outputs, cell.execution_count = [], None
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", type=Path, nargs="+")
    for path in parser.parse_args().notebooks:
        text = nbformat.writes(clean(execute(path))) + "\n"
        write_file(path, lambda temporary, text=text: temporary.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    main()
