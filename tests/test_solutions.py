"""The notebooks' exercises: an empty answer is no mistake, and the solution that is folded away passes the check.

A cell that takes long, and what needs it, runs here only if an exercise needs it; nbval runs every notebook whole.
"""

from __future__ import annotations

import ast
import dis
import re
import time
from pathlib import Path
from types import CodeType

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from coto_lab.exercises._exercise import EMPTY

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
PARTS = ("task", "try", "check", "solution")
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
AWAITED = re.compile(r"await (\w+)\.train\(")  # this changes the view, which other cells then read
PRINTED = re.compile(r"```text\n(.*?)```", re.DOTALL)  # "text full-scale" where it depends on the scale


def exercises(notebook: NotebookNode) -> dict[str, dict[str, NotebookNode]]:
    """Name -> its four cells, by their ids."""
    found: dict[str, dict[str, NotebookNode]] = {}
    for cell in notebook.cells:
        name, _, part = cell.id.rpartition("-")
        if part in PARTS:
            found.setdefault(name, {})[part] = cell
    return found


def printed(cell: NotebookNode) -> str:
    return "".join(output.get("text", "") for output in cell.outputs if output.output_type == "stream")


def names_of(code: CodeType) -> tuple[set[str], set[str]]:
    """The names that code reads and does not make itself, and the names that it makes."""
    read, made = set(), set()
    for step in dis.get_instructions(code):  # in the order in which they run
        if step.opname == "STORE_NAME":
            made.add(step.argval)
        elif step.opname in ("LOAD_NAME", "LOAD_GLOBAL") and step.argval not in made:
            read.add(step.argval)
    inner = [names_of(part)[0] - made for part in code.co_consts if isinstance(part, CodeType)]  # functions and classes
    return read.union(*inner), made


def needed_by(cells: list[NotebookNode]) -> dict[str, set[str]]:
    """Id of a cell -> the ids of itself, of the cells that made what it reads, and of those that they need in turn."""
    needed: dict[str, set[str]] = {}
    maker: dict[str, str] = {}
    for cell in cells:
        source = TransformerManager().transform_cell(cell.source)  # of %pip, it makes Python
        read, made = names_of(compile(source, cell.id, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT))
        needed[cell.id] = {cell.id}.union(*(needed[maker[name]] for name in read & maker.keys()))
        maker |= dict.fromkeys(made.union(AWAITED.findall(cell.source)), cell.id)
    return needed


def cells_to_run(notebook: NotebookNode) -> list[NotebookNode]:
    """The code cells, each solution behind its check, without the long cells that no exercise needs, and what needs those."""
    found, cells = exercises(notebook), []
    for cell in notebook.cells:
        name, _, part = cell.id.rpartition("-")
        if cell.cell_type == "code":
            cells.append(cell)
        if name in found and part == "check":
            (code,) = CODE.findall(found[name]["solution"].source)
            cells.append(nbformat.v4.new_code_cell(code, id=f"{name}-solved"))
    needed = needed_by(cells)
    left_out = {cell.id for cell in cells if any(mark in cell.source for mark in LONG_MARKS)}
    left_out -= set().union(*(needed[f"{name}-{part}"] for name in found for part in ("check", "solved")))
    return [cell for cell in cells if not needed[cell.id] & left_out]


CASES = [pytest.param(path, id=path.stem) for path in NOTEBOOKS]
LONG_MARKS = ("here.scale(", "await ")  # a cell that would take minutes without the fast scale, and a live training
LONG = 1  # second; a code cell that took longer trains or scores, and is not run again


class RunsTwice(NotebookClient):
    """Runs every cell, and a cell's copy ``...-twice`` unless the cell took long."""

    def __init__(self, notebook: NotebookNode, **settings: object):
        super().__init__(notebook, **settings)
        self.taken: dict[str, float] = {}

    async def async_execute_cell(self, cell: NotebookNode, cell_index: int, **rest: object) -> NotebookNode:
        if self.taken.get(cell.id.removesuffix("-twice"), 0) > LONG:
            return cell
        started = time.monotonic()
        done = await super().async_execute_cell(cell, cell_index, **rest)
        self.taken[cell.id] = time.monotonic() - started
        return done


@pytest.fixture(scope="module", params=CASES)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_every_exercise_has_its_four_cells_in_order(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    found = exercises(notebook)
    order = [cell.id for cell in notebook.cells]
    headings = [cell for cell in notebook.cells if cell.cell_type == "markdown" and "### Your turn" in cell.source]
    assert headings == [cells["task"] for cells in found.values()]
    for name, cells in found.items():
        assert tuple(cells) == PARTS, name
        places = [order.index(cell.id) for cell in cells.values()]
        assert places == list(range(places[0], places[0] + 4)), name
        assert re.search(r"Difficulty [●○]{5}, about \d+ minutes?", cells["task"].source), name
        assert cells["solution"].source.startswith("<details><summary>Solution</summary>\n\n"), name
        assert len(CODE.findall(cells["solution"].source)) == 1, name
    assert not [cell.id for cell in notebook.cells if cell.metadata.get("jupyter", {}).get("source_hidden")]


@pytest.fixture(scope="module")
def done(path: Path) -> dict[str, NotebookNode]:
    """Id -> cell that ran: a code cell twice if it is quick, and a check once more after its solution."""
    notebook = nbformat.read(path, as_version=4)
    sources = {cell.id: cell.source for cell in notebook.cells}
    cells = []
    for cell in cells_to_run(notebook):
        name, _, part = cell.id.rpartition("-")
        copied, copy = (f"{name}-check", f"{name}-again") if part == "solved" else (cell.id, f"{cell.id}-twice")
        cells += [cell, nbformat.v4.new_code_cell(sources[copied], id=copy)]
    notebook.cells = cells
    place = {"metadata": {"path": path.parent}}
    client = RunsTwice(notebook, timeout=300, kernel_name="python3", allow_errors=True, resources=place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COTO_LAB_FAST", "1")
        client.execute()
    return {cell.id: cell for cell in notebook.cells if cell.id in client.taken}


def test_cells_run_and_run_again(done: dict[str, NotebookNode]) -> None:
    outputs = [(cell.id, output) for cell in done.values() for output in cell.get("outputs", [])]
    assert [(at, output.evalue) for at, output in outputs if output.output_type == "error"] == []


def test_solutions_pass_their_checks_and_print_what_is_said(path: Path, done: dict[str, NotebookNode]) -> None:
    for name, cells in exercises(nbformat.read(path, as_version=4)).items():
        assert printed(done[f"{name}-check"]) == f"{EMPTY}\n", name
        assert re.fullmatch(r"✓ .+\n", printed(done[f"{name}-again"])), name
        if said := PRINTED.findall(cells["solution"].source):
            assert printed(done[f"{name}-solved"]) == "".join(said), name


def test_a_live_training_without_a_browser_leaves_a_still_figure(path: Path, done: dict[str, NotebookNode]) -> None:
    trained = [cell for cell in done.values() if "await live.train()" in cell.source]
    assert trained or path.stem != "00_tour", "the tour's exercises need its trained runs"
    for cell in trained:
        assert any("application/vnd.plotly.v1+json" in output.get("data", {}) for output in cell.outputs), cell.id
