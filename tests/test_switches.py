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
def test_the_cell_needs_the_setup_alone_and_draws_either_task(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cells, tasks = cells_of(name), ["strings/sort-descending", "digits"]
    first, rest = cells["strings"].split("\n", 1)
    assert first == f"other = {STRINGS}"
    sources = [cells["setup"]]
    for task in tasks:
        sources += [f'other = load_task("{task}")\n{rest}', "print(other.name)"]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    monkeypatch.setenv("COTO_LAB_FAST", "1")
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": ROOT / "notebooks"}}).execute()
    for task, drawn, told in zip(tasks, notebook.cells[1::2], notebook.cells[2::2], strict=True):
        (figure,) = [output.data[DRAWN] for output in drawn.outputs if DRAWN in output.get("data", {})]
        named = {trace["name"].partition(",")[0] for trace in figure["data"] if "name" in trace}
        assert {"LoRA", "CoTo"} <= named
        assert told.outputs[0].text == f"{task}\n"
