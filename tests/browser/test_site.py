"""The pages and the glossary as a reader sees them."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from playwright.sync_api import Page
from tiny_site import ROOT, build, write_repository

sys.path.insert(0, str(ROOT / "pages"))
from picture import IDLE, jupyterlab

IN_SIGHT = "(heading) => { const r = heading.getBoundingClientRect(); return r.top > 0 && r.bottom < innerHeight; }"
WIDTHS = "(names) => names.map(name => document.querySelector(name).getBoundingClientRect())"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    write_repository(root)
    done = build(root, root / "_site")
    assert done.returncode == 0, done.stderr
    return root / "_site"


@pytest.mark.parametrize("width", [1920, 1400, 1320])
def test_what_is_on_this_page_is_readable_beside_the_text(own_page: Page, site: Path, width: int) -> None:
    page = own_page
    page.set_viewport_size({"width": width, "height": 900})
    page.goto((site / "notebooks/00_tiny.html").as_uri())
    sidebar, text, contents = page.evaluate(WIDTHS, [".sidebar-drawer", ".content", ".toc-drawer"])
    assert min(sidebar["width"], contents["width"]) >= 200
    assert sidebar["right"] <= text["left"] and text["right"] <= contents["left"] and contents["right"] <= width
    assert text["width"] > width / 2


def test_a_link_to_the_glossary_opens_it_at_the_term_in_jupyterlab(own_page: Page, tmp_path: Path) -> None:
    page = own_page
    for name in ("notebooks", "pages"):
        (tmp_path / name).mkdir()
    shutil.copy(ROOT / "pages/glossary.md", tmp_path / "pages")
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    cell = new_markdown_cell("# A notebook\n\n[stochastic depth](../pages/glossary.md#stochastic-depth)")
    nbformat.write(new_notebook(cells=[cell], metadata=kernel), tmp_path / "notebooks/a.ipynb")
    with jupyterlab(tmp_path) as url:
        page.goto(f"{url}/lab/tree/notebooks/a.ipynb?reset")
        page.wait_for_function(IDLE)
        page.get_by_role("link", name="stochastic depth").click()
        term = page.get_by_role("heading", name="stochastic depth", level=2)
        term.wait_for()
        page.wait_for_function(IN_SIGHT, arg=term.element_handle())
        assert page.left_home == []  # type: ignore[attr-defined]
