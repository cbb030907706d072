"""The glossary: every link to it finds its term, on GitHub, in JupyterLab and on the site."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GLOSSARY = (ROOT / "pages/glossary.md").read_text(encoding="utf-8")
TERMS = re.findall(r"^## (.+)$", GLOSSARY, flags=re.MULTILINE)
TEXTS = [*sorted(ROOT.glob("notebooks/*.ipynb")), *sorted(ROOT.glob("*.md")), *sorted(ROOT.glob("pages/*.md"))]


def anchor(term: str) -> str:
    """As GitHub, JupyterLab and the site make it from a heading; the terms have no other signs."""
    return term.lower().replace(" ", "-")


def words(path: Path) -> str:
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"])
    return text


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_every_link_has_its_term(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]*glossary\.md)(?:#([^)\s]*))?\)", words(path))
    for target, term in links:
        assert (path.parent / target).resolve() == ROOT / "pages/glossary.md"
        assert not term or term in map(anchor, TERMS)


def test_some_notebook_links_to_it() -> None:
    assert any("../pages/glossary.md#" in words(path) for path in TEXTS)


def test_terms_are_in_order_and_short() -> None:
    assert sorted(TERMS, key=str.lower) == TERMS
    assert all(re.fullmatch(r"[A-Za-z -]+", term) for term in TERMS)
    for term, text in zip(TERMS, re.split(r"^## .+$", GLOSSARY, flags=re.MULTILINE)[1:], strict=True):
        assert 5 < len(text.split()) < 60, term
