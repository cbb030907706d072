"""A report as one HTML page: it needs no other file and no network, is readable in light and dark, and prints."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from coto_lab.report.sections import Section

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go

_CSS = """
:root { color-scheme: light dark; --paper: #ffffff; --jp-ui-font-color1: #1c1e21; --quiet: #5a5f66; --line: #d5d8dc; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #16181b; --jp-ui-font-color1: #e6e7e9; --quiet: #a3a8b0; --line: #3a3e44; }
}
@media print {
  :root { color-scheme: light; --paper: #ffffff; --jp-ui-font-color1: #1c1e21; --quiet: #5a5f66; --line: #d5d8dc; }
  main { zoom: 0.88; }
  .modebar-container, details:not([open]) { display: none !important; }
  figure, table, .words { break-inside: avoid; }
  h2, h3, .help { break-after: avoid; }
}
@page { size: A4; margin: 14mm; }
body { margin: 0; background: var(--paper); color: var(--jp-ui-font-color1);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
main { max-width: 760px; margin: 0 auto; padding: 24px 16px 48px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 0.4em; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.2em 0 0.4em; padding-top: 0.7em; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.2em 0 0; overflow-wrap: anywhere; }
p { margin: 0.5em 0; overflow-wrap: anywhere; }
.help, .about, summary, footer { color: var(--quiet); font-size: 0.9rem; }
figure { margin: 0.6em 0; }
table { border-collapse: collapse; margin: 0.8em 0; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.25em 0.9em 0.25em 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th:first-child, td:first-child { text-align: left; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
"""


def page(title: str, about: Sequence[str], sections: Sequence[Section]) -> str:
    """The whole page.

    Args:
        title: its heading.
        about: lines below the heading.
        sections: its parts.
    """
    from plotly.offline import get_plotlyjs

    from coto_lab.figures.theme import page_css

    body = "\n".join(_section(i, section) for i, section in enumerate(sections))
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_CSS}{page_css()}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n</head>\n<body>\n<main>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(f'<p class="about">{escape(line)}</p>' for line in about)
        + f"\n{body}\n</main>\n</body>\n</html>\n"
    )


def _section(number: int, section: Section) -> str:
    parts = [f"<section>\n<h2>{escape(section.title)}</h2>"]
    parts += [f'<p class="words">{escape(sentence)}</p>' for sentence in section.sentences]
    if section.help:
        parts.append(f'<p class="help">{escape(section.help)}</p>')
    for i, (name, figure) in enumerate(section.figures):
        if name:
            parts.append(f"<h3>{escape(name)}</h3>")
        parts.append(_figure(f"figure-{number}-{i}", f"{section.title} {name}".strip(), figure))
    tables = [_table(name, table, section.folded) for name, table in section.tables]
    if tables and section.folded:
        tables = ["<details>\n<summary>The numbers</summary>", *tables, "</details>"]
    return "\n".join([*parts, *tables, "</section>"])


def _figure(div_id: str, label: str, figure: go.Figure) -> str:
    import plotly.io as pio

    from coto_lab.figures import CONFIG

    options = {"include_plotlyjs": False, "include_mathjax": False, "full_html": False, "validate": False}
    html = pio.to_html(figure, CONFIG, div_id=div_id, **options)
    return f'<figure role="img" aria-label="{escape(label)}">{html}</figure>'


def _table(name: str, table: pd.DataFrame, folded: bool) -> str:
    html = table.to_html(index=False, border=0, escape=True, float_format="{:.4g}".format)
    heading = f"<h3>{escape(name)}</h3>\n" if name and folded else ""
    return f'{heading}<div class="wide">{html}</div>'


def frame(html: str) -> str:
    """A page in a frame of its own, for the output of a notebook's cell."""
    return f'<iframe srcdoc="{escape(html)}" style="width: 100%; height: 900px; border: 0" title="Adapter report"></iframe>'
