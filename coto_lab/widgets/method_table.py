"""The comparison of methods as a table that the reader sorts."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from coto_lab.notebook import where
from coto_lab.studies.variant_table import SCORES, table_of
from coto_lab.widgets.look import Look
from coto_lab.widgets.view import plain, spoken

if TYPE_CHECKING:
    import pandas as pd

GAIN = "CoTo - plain"
# What a column shows of a row of `table_of`, and what it is sorted by; {s} is the score.
_COLUMNS: dict[str, tuple[Callable[[Any, str], str], str]] = {
    "plain, %": (lambda row, s: f"{row[f'{s}, plain']:.1f} ± {row[f'{s}, plain, sd']:.1f}", "{s}, plain"),
    "CoTo, %": (lambda row, s: f"{row[f'{s}, CoTo']:.1f} ± {row[f'{s}, CoTo, sd']:.1f}", "{s}, CoTo"),
    GAIN: (lambda row, s: _difference(row[f"{s}, {GAIN}"], row[f"{s}, low"], row[f"{s}, high"]), f"{{s}}, {GAIN}"),
    "trained": (lambda row, _: f"{row['parameters']:,}", "parameters"),
    "step, × LoRA": (lambda row, _: f"{row['step']:.2f}", "step"),
    "saved (predicted)": (
        lambda row, _: f"{row['saving, measured']:.1f}% ({row['saving, predicted']:.1f}%)",
        "saving, measured",
    ),
}
_CELL = "padding: 2px 6px; white-space: nowrap; text-align: "
_NOTE = "padding: 2px 6px; min-width: 6em; line-height: 1.1; text-align: left"
_RULE = "border-bottom: 1px solid rgba(128, 128, 128, 0.4); "


class MethodTable(widgets.VBox):
    """One row for each method; controls choose the task, the score, and the column by which the rows are sorted.

    Where widgets do not work, the table is shown as it is, without controls.

    Args:
        legs: name of a task -> what was measured on it, such as ``table()["legs"]``.

    Attributes:
        leg, score, sort: the choices of the task, the score and the column.
        lowest: toggle: the lowest row first.
        frame: the rows of `table_of` in the order in which they are shown, with all columns.

    Raises:
        ValueError: there are no legs.
    """

    frame: pd.DataFrame

    def __init__(self, legs: Mapping[str, dict[str, Any]]):
        if not legs:
            raise ValueError("legs is empty: give at least one, such as table()['legs'].")
        self._frames = {name: table_of(leg) for name, leg in legs.items()}
        self.leg = widgets.ToggleButtons(description="task", options=list(legs))
        self.score = widgets.ToggleButtons(description="score", options=[(words, score) for score, words in SCORES.items()])
        self.sort = widgets.Dropdown(description="sort by", options=list(_COLUMNS), value=GAIN)
        self.lowest = widgets.ToggleButton(description="lowest first", layout={"width": "auto"})
        self._shown, self._text = widgets.HTML(layout={"overflow": "auto"}), widgets.HTML()
        order = widgets.HBox([self.sort, self.lowest], layout={"flex_flow": "row wrap"})
        super().__init__([Look(), self.leg, self.score, order, self._shown, self._text])
        self.add_class("coto-view")
        self.add_class("coto-table")
        for control in (self.leg, self.score, self.sort, self.lowest):
            control.observe(lambda _: self._show(), "value")
        self._show()

    def _show(self) -> None:
        score, column = self.score.value, self.sort.value
        by = _COLUMNS[column][1].format(s=score)
        self.frame = self._frames[self.leg.value].sort_values(by, ascending=self.lowest.value, kind="stable")
        self._shown.value = _as_html(self.frame, score, column)
        clear = int((self.frame[f"{score}, low"] > 0).sum())
        worse = int((self.frame[f"{score}, high"] < 0).sum())
        self._text.value = spoken(
            f"{html.escape(self.leg.value)}, {SCORES[score]}: with CoTo {clear} of {len(self.frame)} methods are better and "
            f"{worse} worse; for the others the interval contains 0. First is {html.escape(str(self.frame.index[0]))}."
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        if where().live:
            return super()._repr_mimebundle_(**kwargs)
        return {"text/html": self._shown.value + self._text.value, "text/plain": plain(self._text.value)}


def _as_html(frame: pd.DataFrame, score: str, sorted_by: str) -> str:
    """The rows as a table in the page's own colours; a difference whose interval excludes 0 is bold."""
    last = "fusion of" if score == "fused" else "held equal"
    names = [f"{name} ▾" if name == sorted_by else name for name in _COLUMNS]
    heads = "".join(f'<th scope="col" style="{_CELL}right">{name}</th>' for name in names)
    head = f'<th style="{_CELL}left">method</th>{heads}<th style="{_NOTE}">{last}</th>'
    rows = [
        f'<th scope="row" style="{_CELL}left">{html.escape(str(name))}</th>'
        + "".join(f'<td style="{_CELL}right">{show(row, score)}</td>' for show, _ in _COLUMNS.values())
        + f'<td style="{_NOTE}">{html.escape(row[last])}</td>'
        for name, row in frame.iterrows()
    ]
    lines = "".join(f'<tr style="{_RULE}">{row}</tr>' for row in [head, *rows])
    look = "border-collapse: collapse; line-height: 1.5; width: 100%"
    return f'<div style="overflow-x: auto"><table style="{look}">{lines}</table></div>'


def _difference(mean: float, low: float, high: float) -> str:
    said = f"{mean:+z.1f} [{low:+z.1f}, {high:+z.1f}]"
    return f"<b>{said}</b>" if low > 0 or high < 0 else said
