"""The cells that switch a notebook to strings, on the strings and back on the digits."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
NOTEBOOKS = ["00_tour.ipynb", "05_pruning_and_stability.ipynb", "07_shapley.ipynb"]
STRINGS = 'load_task("strings/sort-descending")  # or load_task("digits")'
DRAWN = "application/vnd.plotly.v1+json"


def cells_of(name: str) -> dict[str, str]:
    return {cell.id: cell.source for cell in nbformat.read(ROOT / "notebooks" / name, as_version=4).cells}


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.parametrize("task", ["strings/sort-descending", "digits"])
def test_the_cell_needs_the_setup_alone_and_draws_either_task(name: str, task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = cells_of(name)
    first, rest = cells["strings"].split("\n", 1)
    assert first == f"other = {STRINGS}"
    sources = [cells["setup"], f'other = load_task("{task}")\n{rest}', "print(other.name)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    monkeypatch.setenv("COTO_LAB_FAST", "1")
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": ROOT / "notebooks"}}).execute()
    _, drawn, told = notebook.cells
    (figure,) = [output.data[DRAWN] for output in drawn.outputs if DRAWN in output.get("data", {})]
    named = {trace["name"].partition(",")[0] for trace in figure["data"] if "name" in trace}
    assert {"LoRA", "CoTo"} <= named
    assert told.outputs[0].text == f"{task}\n"
