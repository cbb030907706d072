"""The choice of plotly's renderer, and a renderer for pages that know only HTML (nbconvert's pages, the classic Notebook)."""

from __future__ import annotations

from typing import Any

import plotly.io as pio
from plotly.offline import get_plotlyjs

from coto_lab.figures import CONFIG


def use_renderer(name: str) -> None:
    """Make a renderer plotly's default, and give its figures the lab's toolbar.

    ``"notebook"`` puts plotly's JavaScript, 5 MB, into the output of the cell that is running.

    Args:
        name: plotly's name of the renderer, or several names joined by ``+``.

    Raises:
        ValueError: plotly has no renderer of this name.
    """
    pio.renderers.default = name
    names = name.split("+")
    if "notebook" in names:
        from IPython.display import publish_display_data

        pio.renderers["notebook"] = _Html()
        pio.renderers.default = name  # set again, because plotly had taken its own renderer of this name
        publish_display_data({"text/html": f"<script>{get_plotlyjs()}</script>", "text/plain": ""})
    for part in names:
        # JupyterLab resizes figures itself. If plotly resizes a figure too, JupyterLab loses its height, and it vanishes.
        pio.renderers[part].config = CONFIG | {"responsive": part != "plotly_mimetype"}


class _Html(pio.base_renderers.MimetypeRenderer):
    """As plotly's own renderer, but figures do not load MathJax from the internet."""

    config: dict[str, Any]

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, str]:
        options = {"include_plotlyjs": False, "include_mathjax": False, "full_html": False, "validate": False}
        return {"text/html": pio.to_html(fig_dict, self.config, default_height=525, **options)}
