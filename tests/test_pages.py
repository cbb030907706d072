"""The pages: a site is built from one tiny notebook, and looked at as a browser would that has no network."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbformat.v4 import new_markdown_cell, new_notebook
from tiny_site import write_repository

ROOT = Path(__file__).parents[1]
# Sphinx's extensions use what Sphinx deprecates.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    write_repository(root)
    return root


@pytest.fixture(scope="module")
def builder() -> Iterator[ModuleType]:
    """``pages/build.py`` in this process: what it needs is imported once for all sites.

    ``tests/browser/test_site.py`` runs it as the command that it is.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "pages")
        import build

        yield build


@pytest.fixture(scope="module")
def site(builder: ModuleType, root: Path) -> Path:
    before = (root / "notebooks/00_tiny.ipynb").read_bytes()
    builder.build(root, root / "_site")
    assert (root / "notebooks/00_tiny.ipynb").read_bytes() == before
    return root / "_site"


@pytest.fixture(scope="module")
def page(site: Path) -> str:
    return (site / "notebooks/00_tiny.html").read_text(encoding="utf-8")


class Loads(HTMLParser):
    """What a browser fetches when it opens a page; links that a reader may click are left out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in ("a", "form"):
            self.found += [value for name in ("src", "href", "srcset", "data", "poster") if (value := found.get(name))]


def test_no_link_of_the_repositorys_own_texts_is_broken(
    builder: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notebooks are not run for this."""
    monkeypatch.setattr(builder, "execute", lambda path: nbformat.read(path, as_version=4))
    builder.build(ROOT, tmp_path / "site")
    assert (tmp_path / "site/readme.html").is_file() and (tmp_path / "site/index.html").is_file()


def test_figures_are_in_the_page(page: str) -> None:
    assert re.findall(r'<div id="(figure-[\w-]+)" class="plotly-graph-div"', page) == ["figure-figure-0", "figure-view-0"]
    assert page.count("Plotly.newPlot(") == 2
    assert 'showSendToCloud": false' in page
    assert page.index('src="../_static/plotly.min.js"') < page.index("Plotly.newPlot("), "it must be there before it is used"


def test_plotly_is_stored_once_and_loaded_where_it_is_needed(site: Path) -> None:
    files = [file for file in site.rglob("*") if file.is_file()]
    assert [file for file in files if file.stat().st_size > 2e6] == [site / "_static/plotly.min.js"]
    assert "plotly.min.js" not in (site / "EVIDENCE.html").read_text(encoding="utf-8")


def test_nothing_comes_from_another_machine(site: Path) -> None:
    for file in site.rglob("*.html"):
        loads = Loads()
        loads.feed(file.read_text(encoding="utf-8"))
        for address in loads.found:
            if address.startswith("data:"):  # it is in the page itself
                continue
            assert not re.match(r"(?:\w+:)?//", address), f"{file.name} loads {address}"
            path = (file.parent / address.split("?")[0].split("#")[0]).resolve()
            assert path.exists(), f"{file.name} loads {address}, which is not there"
    for file in site.rglob("*.css"):
        assert not re.search(r"@import|url\(\s*[\"']?(?:\w+:)?//", file.read_text(encoding="utf-8")), file


def test_maths_is_drawn(page: str) -> None:
    assert page.count("<math ") == 3
    assert page.count('<math xmlns="http://www.w3.org/1998/Math/MathML" display="block">') == 1
    assert "<mfrac>" in page and "<munder" in page
    assert "tfrac" not in page and "$" not in re.sub(r"<script.*?</script>", "", page, flags=re.S)


def test_widgets_and_progress_bars(page: str) -> None:
    assert page.count("Here a widget waits for you") == 1, "the prediction; a view shows its figure and sentence"
    assert "Two bars." in page
    assert "a progress bar" not in page and "widget-view" not in page


def test_solutions_are_folded(page: str) -> None:
    folded = re.findall(r"<details class=\"([^\"]*)\">(.*?)</details>", page, flags=re.S)
    solutions = [(kind, body) for kind, body in folded if "hide" in kind]
    assert len(solutions) == 2
    assert "folded away" not in solutions[0][1] and "folded away" in page
    assert "all of it" in solutions[1][1]
    assert "<summary>Hint</summary>" in page


def test_a_link_to_the_glossary_leads_to_its_term(site: Path, page: str) -> None:
    assert 'href="../pages/glossary.html#learning-rate"' in page
    assert 'id="learning-rate"' in (site / "pages/glossary.html").read_text(encoding="utf-8")


def test_index_links_to_all_and_can_be_searched(site: Path) -> None:
    index = (site / "readme.html").read_text(encoding="utf-8")
    for name in ("index.html", "notebooks/00_tiny.html", "EVIDENCE.html", "CONTRIBUTING.html", "data/README.html"):
        assert f'href="{name}"' in index
    assert "tini" in (site / "searchindex.js").read_text(encoding="utf-8"), "the stem of tiny"
    assert (site / "search.html").exists()


def test_the_playground_is_the_front_page_and_links_lead_back(site: Path) -> None:
    index = (site / "index.html").read_text(encoding="utf-8")
    assert 'src="js/app.js"' in index and 'href="readme.html"' in index
    assert (site / "model/model.safetensors").read_bytes() == (ROOT / "data/glyph-vit/model.safetensors").read_bytes()
    assert (site / "figures.json").exists() and (site / "adapters/coto-seed4/adapter_model.safetensors").exists()


def test_broken_link_is_told(builder: ModuleType, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(root, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("_site"))
    notebook = new_notebook(cells=[new_markdown_cell("# Elsewhere\n\n[gone](gone.ipynb)")])
    nbformat.write(notebook, tmp_path / "notebooks/00_tiny.ipynb")
    with pytest.raises(RuntimeError, match="the pages were not written"):
        builder.build(tmp_path, tmp_path / "_site")
    assert "gone.ipynb" in capsys.readouterr().err
    assert not (tmp_path / "_site").exists()


def test_foreign_folder_is_not_written_to(builder: ModuleType, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["build.py", "--root", str(root), "--out", str(root / "data")])
    with pytest.raises(ValueError, match="holds no pages that were written here"):
        builder.main()
    assert sorted(path.name for path in (root / "data").iterdir()) == [
        "README.md",
        "docstrings",
        "evidence",
        "gallery",
        "glyph-diffusion",
        "glyph-vit",
        "letter-llama",
    ]


@pytest.mark.parametrize("mine", ["notebooks/00_tiny.html", "_static"])
def test_pages_do_not_replace_a_file_of_somebody_else(builder: ModuleType, site: Path, tmp_path: Path, mine: str) -> None:
    out, elsewhere = tmp_path / "pages", tmp_path / "elsewhere"
    out.mkdir()
    elsewhere.mkdir()
    (out / ".pages-of-coto_lab").write_text("../secret.txt\n")
    (tmp_path / "secret.txt").write_text("mine")
    if mine == "_static":
        (out / mine).symlink_to(elsewhere)
    else:
        (out / mine).parent.mkdir()
        (out / mine).write_text("mine")
    with pytest.raises(ValueError, match="in the way of a page"):
        builder.replace(out, site)
    assert not list(elsewhere.iterdir())
    builder.replace(tmp_path / "new", site)
    (tmp_path / "new/.pages-of-coto_lab").write_text("../secret.txt\nindex.html\nnotebooks\n")
    for file in site.rglob("*.html"):
        file.unlink() if file.name == "nothing" else None
    assert (tmp_path / "secret.txt").read_text() == "mine"


def test_pages_written_anew_replace_the_old_ones_and_nothing_else(
    builder: ModuleType, root: Path, site: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(site, tmp_path / "pages")
    (out / "CNAME").write_text("of the reader")
    (out / "gone.html").write_text("an old page")
    (out / ".pages-of-coto_lab").write_text((out / ".pages-of-coto_lab").read_text() + "gone.html\n")
    (out / "index.html").write_text("an old page")
    source = shutil.copytree(root, tmp_path / "root", ignore=shutil.ignore_patterns("_site", "*.ipynb"))
    (source / "README.md").write_text("# A lab\n\n[licence](LICENSE)")
    nbformat.write(new_notebook(cells=[new_markdown_cell("# Tiny")]), source / "notebooks/00_tiny.ipynb")
    builder.build(source, out)
    assert (out / "CNAME").read_text() == "of the reader" and not (out / "gone.html").exists()
    assert "an old page" not in (out / "index.html").read_text() and (out / "notebooks/00_tiny.html").exists()
