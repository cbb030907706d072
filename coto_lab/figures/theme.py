"""Figures on light and on dark pages: transparent paper, ink that both show, and style sheets that follow the page's theme."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

INK = "#767677"  # a grey that is read on white and on black; a page that has `page_css` shows its own font colour instead
GRID = "rgba(128, 128, 128, 0.25)"
CLOSED = "rgba(128, 128, 128, 0.15)"  # of a gate, beside the colour of an open one
LABEL = {"font_color": "#222222", "bgcolor": "rgba(255, 255, 255, 0.85)"}  # of words on a coloured surface

SIZES = {"normal": 12, "large": 17}  # of the letters, in pixels
_NAME = "coto_lab"
_NARROW = """
.jp-RenderedPlotly { min-width: 560px; }
.jp-OutputArea-child:has(> .jp-RenderedPlotly) { overflow-x: auto; }
.coto-view .widget-button, .coto-prediction .widget-button { flex: 0 0 auto; width: auto; min-width: 5em; }
.coto-prediction > .widget-button { align-self: flex-start; }
.coto-number { max-width: 100%; flex-wrap: nowrap !important; overflow: visible; }
.coto-number .widget-slider { flex: 0 1 auto !important; min-width: 10em; }
"""


def _template() -> go.layout.Template:
    axis = {"gridcolor": GRID, "linecolor": GRID, "zerolinecolor": GRID}
    template = go.layout.Template(pio.templates["plotly_white"])
    template.layout.update(
        font={"color": INK, "size": SIZES["normal"]},
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        xaxis=axis,
        yaxis=axis,
        modebar={"bgcolor": "rgba(0, 0, 0, 0)", "color": INK, "activecolor": "#0072B2"},
        shapedefaults_line_color=INK,
    )
    return template


pio.templates[_NAME] = _template()


def set_text_size(size: str) -> None:
    """Letters of all figures that are drawn from now on: ``"normal"``, or ``"large"`` for a lecture.

    Raises:
        ValueError: another size.
    """
    if size not in SIZES:
        raise ValueError(f"size={size!r}: use one of {', '.join(map(repr, SIZES))}.")
    pio.templates[_NAME].layout.font.size = SIZES[size]


def magnification() -> float:
    """How large letters are, 1 = normal."""
    return float(pio.templates[_NAME].layout.font.size / SIZES["normal"])


def themed(figure: go.Figure) -> go.Figure:
    """``figure`` with the lab's template."""
    return figure.update_layout(template=_NAME)


def on_white(figure: go.Figure) -> go.Figure:
    """A copy on white paper with dark letters, for a file that is shown anywhere."""
    paper: dict[str, Any] = {"paper_bgcolor": "white", "plot_bgcolor": "white", "font_color": "#2A3F5F"}
    return go.Figure(figure).update_layout(paper)


def page_css() -> str:
    """A style sheet: `INK` becomes the font colour of JupyterLab's theme, letters have the size that is set, controls fit in.

    A figure or a row of controls that gets too narrow is scrolled or wrapped, as titles and names of buttons would overlap.
    """
    red, green, blue = bytes.fromhex(INK[1:])
    ink, shown = f"rgb({red}, {green}, {blue})", "var(--jp-ui-font-color1, var(--vscode-editor-foreground))"
    rules = [f'.js-plotly-plot [style*="{part}: {ink}"] {{ {part}: {shown} !important; }}' for part in ("fill", "stroke")]
    rules.append(_NARROW)
    if (factor := magnification()) != 1:
        px = {"font-size": 13, "inline-height": 28}
        sizes = " ".join(f"--jp-widgets-{name}: {round(value * factor)}px;" for name, value in px.items())
        rules.append(f".coto-view, .coto-prediction {{ {sizes} }}")
    return "\n".join(rules)
