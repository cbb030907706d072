"""Colours for light and dark pages: transparent paper, readable ink, and style sheets that follow the page's theme."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import plotly.io as pio

INK = "#767677"  # a grey that is readable on white and on black; a page with `page_css` shows its own font colour instead
GRID = "rgba(128, 128, 128, 0.25)"
CLOSED = "rgba(128, 128, 128, 0.15)"  # the colour of a closed gate
LABEL = {"font_color": "#222222", "bgcolor": "rgba(255, 255, 255, 0.85)"}  # the look of words on a coloured surface

SIZES = {"normal": 12, "large": 17}  # font sizes in pixels
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
    """Set the font size of all figures that are drawn from now on: ``"normal"``, or ``"large"`` for a lecture.

    Raises:
        ValueError: ``size`` is unknown.
    """
    if size not in SIZES:
        raise ValueError(f"size={size!r}: use one of {', '.join(map(repr, SIZES))}.")
    pio.templates[_NAME].layout.font.size = SIZES[size]


def magnification() -> float:
    """The font size relative to the normal size."""
    return float(pio.templates[_NAME].layout.font.size / SIZES["normal"])


def themed(figure: go.Figure) -> go.Figure:
    """``figure`` with the lab's template."""
    return figure.update_layout(template=_NAME)


def on_white(figure: go.Figure) -> go.Figure:
    """A copy on white paper with dark letters, for a file that can be shown anywhere."""
    paper: dict[str, Any] = {"paper_bgcolor": "white", "plot_bgcolor": "white", "font_color": "#2A3F5F"}
    return go.Figure(figure).update_layout(paper)


def page_css() -> str:
    """A style sheet for a page: `INK` becomes the font colour of JupyterLab's theme, and letters get the size that is set.

    A figure that would be too narrow gets a scroll bar, and a row of controls is wrapped, so that titles and buttons do not
    overlap.
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
