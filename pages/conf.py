"""Sphinx's settings for the pages, which `build.py` writes. No page loads anything from another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.util import logging

project = html_title = "coto_lab"
root_doc = "readme"  # index.html is the playground
html_theme = "furo"
html_copy_source = False
html_show_copyright = False
html_static_path = ["style.css", str(Path(plotly.__file__).parent / "package_data" / "plotly.min.js")]
html_css_files = ["style.css"]
html_math_renderer = "mathml"
pygments_dark_style = "monokai"

extensions = ["myst_nb"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3  # anchors as on GitHub, so that glossary.md#learning-rate works on GitHub and in the pages
nb_execution_mode = "off"  # build.py has already run the notebooks
nb_ipywidgets_js: dict[str, Any] = {}  # by default, this JavaScript is loaded from another machine
nb_output_stderr = "remove"  # stderr has only progress bars
nb_code_prompt_show = "Show the folded cell"
nb_code_prompt_hide = "Fold it again"


def write_maths(translator: Any, node: nodes.math | nodes.math_block) -> None:
    """Write LaTeX as MathML, which browsers can draw and screen readers can read."""
    block = isinstance(node, nodes.math_block)
    written = convert(node.astext(), display="block" if block else "inline")
    if "\\" in written:
        logging.getLogger(__name__).warning("maths that latex2mathml does not know: %s", node.astext(), location=node)
    translator.body.append(f'<div class="math">{written}</div>' if block else written)
    raise nodes.SkipNode


def load_plotly(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Load plotly at the top of a page with figures; at the end of the page, where the theme puts scripts, is too late."""
    if "plotly-graph-div" in context.get("body", ""):
        context["metatags"] += f'<script src="{context["pathto"]("_static/plotly.min.js", 1)}"></script>'


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (write_maths, None), (write_maths, None))
    app.connect("html-page-context", load_plotly)
