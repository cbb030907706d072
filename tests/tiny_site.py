"""A tiny repository that becomes pages, for the tests of the site."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).parents[1]

TEXT = r"""# A tiny notebook

## A section

The scale is $s = \tfrac{\alpha}{r}$, and

$$\mathbb{E}_\delta\big[\ell(f_\delta)\big] \;\ge\; \sum_{j=0}^{L} \underbrace{\binom{L}{j}\, p^j}_{\texttt{weights}}$$

<details><summary>Hint</summary>

Look at $W_i x$.
</details>

The [learning rate](../pages/glossary.md#learning-rate) is 0.1.
"""
SETUP = "from coto_lab.notebook import setup\n\nhere = setup(threads=1)"
FIGURE = "import plotly.graph_objects as go\n\ngo.Figure(go.Scatter(y=[1, 4, 9]))"
WIDGET = "from coto_lab.widgets import Prediction\n\nPrediction('How much?')"
VIEW = """from coto_lab.widgets.view import View

view = View(go.Figure(go.Bar(y=[2, 3])), [], "coto-tiny")
view.say("Two bars.")
view"""
PROGRESS = "from tqdm.auto import tqdm\n\nfor _ in tqdm(range(3), desc='a progress' + ' bar'):\n    pass"
FOLDED = {"jupyter": {"source_hidden": True}}
ALL_FOLDED = {"jupyter": {"source_hidden": True, "outputs_hidden": True}}


ADAPTERS = [f"data/gallery/{method}-seed{seed}" for method in ("lora", "coto") for seed in range(5)]
OF_THE_PLAYGROUND = ["playground", "coto_lab/widgets", "data/evidence", "data/glyph-vit", *ADAPTERS]  # the real ones


def build(root: Path, out: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "pages/build.py"), "--root", str(root), "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True)


def write_repository(root: Path) -> None:
    """Write what a repository has that becomes pages into an empty folder."""
    cells = [
        new_markdown_cell(TEXT),
        new_code_cell(SETUP),
        *(new_code_cell(source, id=name) for name, source in [("figure", FIGURE), ("widget", WIDGET), ("view", VIEW)]),
        new_code_cell(PROGRESS),
        new_code_cell("print('folded ' + 'away')", metadata=FOLDED),
        new_code_cell("print('all ' + 'of it')", metadata=ALL_FOLDED),
    ]
    for folder in (
        "notebooks", "pages", "data/letter-llama", "coto_lab/gating", "coto_lab/scoring", "examples/coto_in_peft",
        "tests/trainers", "benchmarks/gpu_results", "coto_lab/tasks", "data/glyph-diffusion", "data/docstrings",
    ):  # fmt: skip
        (root / folder).mkdir(parents=True)
    for name in OF_THE_PLAYGROUND:
        shutil.copytree(
            ROOT / name, root / name, ignore=shutil.ignore_patterns("README.md", "*.svg", "*.py", "history.safetensors")
        )
    nbformat.write(new_notebook(cells=cells), root / "notebooks/00_tiny.ipynb")
    shutil.copy(ROOT / "pyproject.toml", root)  # it has the repository's address
    texts = {
        "README.md": "# A lab\n\n[tiny](notebooks/00_tiny.ipynb), [evidence](EVIDENCE.md), [licence](LICENSE)",
        "pages/glossary.md": "# Glossary\n\n## learning rate\n\nA number.",
        "EVIDENCE.md": "# Evidence\n\n![a picture](data/evidence/a.svg)",
        "data/evidence/a.svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>',
    }
    others = (
        "CONTRIBUTING.md", "CHANGELOG.md", "pages/blocks.md", "pages/trainers.md", "pages/sweeps.md", "pages/peft.md",
        "pages/live.png", "CITATION.cff", "LICENSE", "data/README.md", "data/glyph-vit/README.md",
        "data/letter-llama/README.md", "coto_lab/gating/README.md", "coto_lab/scoring/README.md", "coto_lab/tasks/task.py",
        "data/glyph-diffusion/README.md", "data/docstrings/README.md", "tests/tiny_tasks.py",
    )  # fmt: skip
    for name, text in (texts | dict.fromkeys(others, "# Title")).items():
        (root / name).write_text(text)
