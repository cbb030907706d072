"""The page: whole, without anything from elsewhere, and safe with any name."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from coto_lab.report import Report
from coto_lab.report.page import page
from coto_lab.report.sections import Section

PARTS = [
    "The adapters", "Score", "Which blocks matter", "Which kinds of module matter",
    "What is left when only some adapters are kept",
    "What is left when blocks are dropped", "What is left when small entries are set to 0", "How large the updates are",
    "How they fuse", "What CoTo's masks save in training",
]  # fmt: skip


class Reader(HTMLParser):
    """Collects headings, and whatever would be loaded from elsewhere."""

    def __init__(self, html: str):
        super().__init__()
        self.headings: list[str] = []
        self.loaded: list[str] = []
        self.figures = self.scripts = 0
        self._in_heading = False
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self._in_heading = tag == "h2"
        self.figures += tag == "figure"
        self.scripts += tag == "script"
        self.loaded += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]
        self.loaded += [tag] if tag in ("link", "iframe", "object") else []

    def handle_data(self, data: str) -> None:
        if self._in_heading:
            self.headings.append(data)
            self._in_heading = False


def test_the_page_has_all_parts_and_loads_nothing(two: Report) -> None:
    found = Reader(two.html)
    assert found.headings == PARTS and found.loaded == [] and found.figures == 11
    assert two.html.count("plotly.js v") == 1, "plotly's JavaScript once"
    style = re.search(r"<style>(.*?)</style>", two.html, flags=re.DOTALL)[1]
    assert "url(" not in style and "@import" not in style
    assert "@media print" in style and "prefers-color-scheme: dark" in style


def test_one_adapter_has_no_fusion_and_its_pruned_part_first(one: Report) -> None:
    assert Reader(one.html).headings == ["The adapter", "Score", "The pruned adapter", *PARTS[2:8], PARTS[9]]


def test_adapters_keep_their_colours(two: Report) -> None:
    data = re.findall(r'"name":"(first|second)","offsetgroup":"[^"]*"', two.html)
    assert set(data) <= {"first", "second"}
    assert '"name":"first"' in two.html.replace(" ", "") and '"name":"CoTo"' not in two.html.replace(" ", "")


def test_names_are_text_wherever_they_stand() -> None:
    evil = "<img src=x onerror=alert(1)>"
    import plotly.graph_objects as go

    figure = go.Figure(go.Scatter(name=evil, x=[1], y=[1])).update_layout(title=evil)
    made = page(evil, [evil], [Section(evil, [evil], [(evil, figure)], [(evil, pd.DataFrame({evil: [evil]}))], evil)])
    assert "<img" not in made.replace(made[made.index("<script>") : made.index("</script>")], "")


def test_saving(one: Report, tmp_path: Path) -> None:
    path = one.save(tmp_path / "report.html")
    assert path.read_text(encoding="utf-8") == one.html
    with pytest.raises(FileExistsError, match=r"report.html' exists: choose another name, or allow to overwrite it"):
        one.save(path)
    assert one.save(path, overwrite=True) == path
    with pytest.raises(FileExistsError, match="it is a folder"):
        one.save(tmp_path, overwrite=True)


def test_in_a_notebook_the_page_has_a_frame_of_its_own(one: Report) -> None:
    shown = one._repr_html_()
    found = Reader(shown)
    assert shown.startswith("<iframe srcdoc=") and found.loaded == ["iframe"] and found.headings == []
    assert "Report(adapter; task 'tiny')" in repr(one)
