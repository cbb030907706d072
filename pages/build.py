"""Run every notebook and write the pages: ``make site``, then open ``_site/index.html``.

The notebooks are run in a temporary folder; those in ``notebooks/`` stay as they are. ``COTO_LAB_FAST=1 make site`` is a quick
look. The pages load nothing from another machine, and work from a folder as from a server. Figures stay interactive; widgets
need a kernel, so each one shows its figure as it stands.
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

from coto_lab.figures import CONFIG

PAGES = Path(__file__).parent
TEXTS = ("EVIDENCE.md", "pages/blocks.md", "CONTRIBUTING.md", "data/README.md", "data/glyph-vit/README.md")
FILES = ("LICENSE", "CITATION.cff", "data/evidence")  # to which the texts link
LIST = "pages.txt"  # in the folder of the pages: what was written there, so that no other file is ever deleted
FIGURE, WIDGET = "application/vnd.plotly.v1+json", "application/vnd.jupyter.widget-view+json"
NOTE = "<p><em>Here a widget waits for you: open the notebook in JupyterLab (<code>make lab</code>).</em></p>"

# The first page is the README; these fill the sidebar.
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
    """An executed notebook as a page shows it; changed in place and returned."""
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
    """Write the pages of the repository ``root`` to ``out``, in place of those that were written there before.

    Raises:
        ValueError: ``out`` is a folder that holds something else.
        CellExecutionError: a cell failed.
        RuntimeError: Sphinx warned, of a broken link for one.
    """
    if out.exists() and any(out.iterdir()) and not (out / LIST).exists():
        raise ValueError(f"out={str(out)!r} is not empty and holds no pages that were written here. Name a new folder.")
    with tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder, "source"), Path(folder, "site")
        shutil.copytree(root / "notebooks", source / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
        for name in (*TEXTS, *FILES):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (root / name).is_dir() else shutil.copy)(root / name, source / name)
        contents = CONTENTS.format("\n".join(name.removesuffix(".md") for name in TEXTS))
        (source / "index.md").write_text((root / "README.md").read_text(encoding="utf-8") + contents, encoding="utf-8")
        for path in (progress := tqdm(sorted(source.glob("notebooks/*.ipynb")), unit="notebook")):
            progress.set_description(path.stem)
            nbformat.write(as_page(execute(path)), path)
        options = ["--quiet", "--fail-on-warning", "--keep-going", "--conf-dir", str(PAGES), "--doctree-dir", f"{folder}/trees"]
        if sphinx([*options, str(source), str(made)]):
            raise RuntimeError("the pages were not written: fix what Sphinx complains of above")
        earlier = (out / LIST).read_text(encoding="utf-8").splitlines() if out.exists() and (out / LIST).exists() else []
        written = sorted(str(file.relative_to(made)) for file in made.rglob("*") if file.is_file())
        shutil.copytree(made, out, dirs_exist_ok=True)
        (out / LIST).write_text("\n".join(written) + "\n", encoding="utf-8")
        for name in set(earlier) - set(written):
            (out / name).unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=PAGES.parent, help="the repository (%(default)s)")
    parser.add_argument("--out", type=Path, default=PAGES.parent / "_site", help="where the pages go (%(default)s)")
    options = parser.parse_args()
    build(options.root, options.out)
    print(f"open {options.out / 'index.html'}")


if __name__ == "__main__":
    main()
