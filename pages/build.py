"""Run every notebook and write the pages, with the playground in front: ``make site``, then serve the folder ``_site``.

The notebooks are run in a temporary folder, and the files in ``notebooks/`` do not change. ``COTO_LAB_FAST=1 make site`` is a
quick preview. The pages load nothing from another machine. Those of the notebooks and texts work from a folder as well as from
a server; the playground (``index.html``) needs a server, since browsers load no modules from a folder. Figures stay
interactive. Widgets need a kernel, so each widget shows a static figure.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import nbformat
import plotly.io as pio
from refresh import execute
from sphinx.cmd.build import main as sphinx
from tqdm import tqdm

import playground
from coto_lab.figures import CONFIG

PAGES = Path(__file__).parent
TEXTS = (
    "pages/glossary.md", "EVIDENCE.md", "pages/blocks.md", "pages/trainers.md", "pages/sweeps.md", "pages/peft.md",
    "coto_lab/gating/README.md", "coto_lab/scoring/README.md", "CONTRIBUTING.md", "CHANGELOG.md", "data/README.md",
    "data/glyph-vit/README.md", "data/letter-llama/README.md", "data/glyph-diffusion/README.md", "data/docstrings/README.md",
)  # fmt: skip
# The texts link to these files.
FILES = (
    "LICENSE", "CITATION.cff", "data/evidence", "pages/live.png", "examples/coto_in_peft", "tests/trainers",
    "benchmarks/gpu_results", "coto_lab/tasks/task.py", "tests/tiny_tasks.py",
)  # fmt: skip
LIST = ".pages-of-coto_lab"  # a file in the folder of the pages with the names of all written files; only those are deleted
FIGURE, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
NOTE = "<p><em>Here a widget waits for you: open the notebook in JupyterLab (<code>make lab</code>).</em></p>"

# The first of Sphinx's pages is the README, followed by these lists, which fill the sidebar.
FIRST = "readme"
PLAY = '<p><a href="index.html">Play with the model in this browser</a></p>'
CONTENTS = """
```{{toctree}}
:hidden:
:glob:
:caption: Notebooks

notebooks/*
```

```{{toctree}}
:hidden:
:caption: About

{}
```
"""


def as_page(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """An executed notebook in the form in which a page shows it; it is changed in place and returned."""
    for cell in notebook.cells:
        if cell.cell_type == "code":
            shown = (_as_html(output, f"{cell.id}-{i}") for i, output in enumerate(cell.outputs))
            cell.outputs = [output for output in shown if output is not None]
            folded = cell.metadata.get("jupyter", {})
            if folded.get("source_hidden"):
                cell.metadata["tags"] = ["hide-cell" if folded.get("outputs_hidden") else "hide-input"]
    return notebook


def _as_html(output: nbformat.NotebookNode, name: str) -> nbformat.NotebookNode | None:
    data = output.get("data", {})
    if FIGURE in data:
        figure = {part: data[FIGURE][part] for part in ("data", "layout")}
        html = pio.to_html(figure, CONFIG, include_plotlyjs=False, full_html=False, validate=False, div_id=f"figure-{name}")
    elif WIDGET not in data:
        return output
    elif output.output_type == "execute_result":
        html = NOTE
    else:
        return None  # a progress bar
    return nbformat.v4.new_output("display_data", {"text/html": html})


def build(root: Path, out: Path) -> None:
    """Write the pages of the repository ``root`` to ``out``; pages that were written there before are replaced.

    Raises:
        ValueError: ``out`` contains another file in the place of a page.
        CellExecutionError: a cell failed.
        RuntimeError: Sphinx warned, for example about a broken link.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={str(out)!r} is a file. Name a folder.")
    if out.exists() and any(out.iterdir()) and not (out / LIST).is_file():
        raise ValueError(f"out={str(out)!r} is not empty and holds no pages that were written here. Name a new folder.")
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "source"), Path(folder, "site")
        shutil.copytree(root / "notebooks", source / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        for name in (*TEXTS, *FILES):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, source / name)
        contents = CONTENTS.format("\n".join(name.removesuffix(".md") for name in TEXTS))
        title, rest = (root / "README.md").read_text(encoding="utf-8").split("\n", 1)
        (source / f"{FIRST}.md").write_text(f"{title}\n\n{PLAY}\n{rest}{contents}", encoding="utf-8")
        for path in (progress := tqdm(sorted(source.glob("notebooks/*.ipynb")), unit="notebook")):
            progress.set_description(path.stem)
            nbformat.write(as_page(execute(path)), path)
        options = ["--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", str(PAGES), "--doctree-dir", f"{folder}/trees"]
        if sphinx([*options, str(source), str(made)]):
            raise RuntimeError("the pages were not written: fix the problems that Sphinx reports above")
        playground.write(root, Path(folder, "playground"))
        shutil.copytree(Path(folder, "playground"), made, dirs_exist_ok=True)
        replace(out, made)


def replace(out: Path, made: Path) -> None:
    """Copy the pages ``made`` to ``out``, and delete old pages that were written there before; other files stay.

    Raises:
        ValueError: a file that was not written by this script is in the way; nothing was changed.
    """
    earlier = set((out / LIST).read_text(encoding="utf-8").splitlines()) if out.exists() and (out / LIST).is_file() else set()
    written = {file.relative_to(made).as_posix() for file in made.rglob("*") if file.is_file()}
    for name in sorted(written):
        links = any((out / part).is_symlink() for part in (name, *map(str, Path(name).parents)))
        if links or (out / name).is_dir() or ((out / name).exists() and name not in earlier):
            raise ValueError(
                f"{str(out / name)!r} is in the way of a page, and was not written here. Move it, or name a new folder."
            )
    shutil.copytree(made, out, dirs_exist_ok=True)
    (out / LIST).write_text("\n".join(sorted(written)) + "\n", encoding="utf-8")
    for name in earlier - written:
        old = out / name
        if out.resolve() in old.resolve().parents and old.is_file():
            old.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=PAGES.parent, help="the repository (%(default)s)")
    parser.add_argument("--out", type=Path, default=PAGES.parent / "_site", help="where the pages go (%(default)s)")
    options = parser.parse_args()
    build(options.root, options.out)
    print(f"python -m http.server --directory {options.out}")


if __name__ == "__main__":
    main()
