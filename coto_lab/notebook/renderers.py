"""Which of plotly's renderers shows figures, and one for pages that know only HTML: nbconvert's, and the classic Notebook."""

from __future__ import annotations

from typing import Any

import plotly.io as pio
from plotly.offline import get_plotlyjs

from coto_lab.figures import CONFIG


def use_renderer(name: str) -> None:
    """Make a renderer plotly's default, with the lab's toolbar.

    ``"notebook"`` puts plotly's JavaScript, 5 MB, into the output of the cell that is running.

    Args:
        name: plotly's, or several joined by ``+``.

    Raises:
        ValueError: there is none of that name.
    """
    pio.renderers.default = name
    names = name.split("+")
    if "notebook" in names:
        from IPython.display import publish_display_data

        pio.renderers["notebook"] = _Html()
        pio.renderers.default = name  # plotly had taken its own
        publish_display_data({"text/html": f"<script>{get_plotlyjs()}</script>", "text/plain": ""})
    for part in names:
        # JupyterLab resizes figures itself, and forgets the height of those that plotly resizes, too: they would vanish.
        pio.renderers[part].config = CONFIG | {"responsive": part != "plotly_mimetype"}


class _Html(pio.base_renderers.MimetypeRenderer):
    """As plotly's own, which lets every figure load MathJax from another machine."""

    config: dict[str, Any]

    def to_mimebundle(self, fig_dict: dict[str, Any]) -> dict[str, str]:
        options = {"include_plotlyjs": False, "include_mathjax": False, "full_html": False, "validate": False}
        return {"text/html": pio.to_html(fig_dict, self.config, default_height=525, **options)}
