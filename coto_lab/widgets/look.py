"""The look of views in a page: controls wrap, figures follow the page's width, and colours follow the page's theme."""

from __future__ import annotations

import anywidget
import traitlets

from coto_lab.figures.theme import page_css

_LAYOUT = """
.coto-view { overflow: hidden; flex-flow: row wrap; align-items: center; }
.coto-view > * { flex: 0 0 100%; max-width: 100%; }
.coto-view > .coto-number { flex: 0 1 300px; min-width: 0; }
.coto-view .widget-hbox { flex-wrap: wrap; overflow: visible; }
.coto-view .widget-hbox > .widget-vbox { flex: 1 1 20em; width: auto !important; }
.coto-view .widget-hbox > .widget-vbox:has(> .widget-toggle-button) { flex: 0 0 auto; }
.coto-view .widget-toggle-buttons { display: flex; align-items: center; width: auto; height: auto; }
.coto-view .widget-toggle-buttons button { width: auto; min-width: 7em; }
.coto-figure { overflow-x: auto; overflow-y: hidden; }
.coto-figure > * { flex: 1 0 auto; width: 100%; min-width: 640px; }
"""

# plotly redraws a figure when the window is resized, but not when a side bar changes the width of the page.
_FOLLOW = """
export default { render({ model, el }) {
    let width = 0;
    const observer = new ResizeObserver(entries => {
        const now = Math.round(entries[0].contentRect.width);
        if (now && now !== width) { width = now; window.dispatchEvent(new Event("resize")); }
    });
    observer.observe(el);
    return () => observer.disconnect();
} };
"""


class Look(anywidget.AnyWidget):
    """An invisible part of a view that adds the style sheet to the page and tells figures when the page's width changes."""

    _esm = _FOLLOW
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(self) -> None:
        super().__init__(_css=page_css() + _LAYOUT, layout={"height": "0", "margin": "0"})
