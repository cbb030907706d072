from __future__ import annotations

from coto_lab.figures import merged_counts_figure

LINE = {"2": [60.0, 70.0], "3": [50.0, 40.0]}  # as JSON has them


def test_a_panel_for_each_rule_and_a_line_for_each_way() -> None:
    rules = {name: {"LoRA": LINE, "CoTo": {2: [80.0], 3: [70.0]}} for name in ("fuse", "ties", "dare", "svd", "lego")}
    figure = merged_counts_figure(rules)
    assert [note.text for note in figure.layout.annotations] == list(rules)
    assert len(figure.data) == 10 and len({curve.xaxis for curve in figure.data}) == 5
    lora, coto = figure.data[:2]
    assert (list(lora.x), list(lora.y)) == ([2, 3], [65, 45])
    assert (list(lora.error_y.array), list(lora.error_y.arrayminus)) == ([5, 5], [5, 5])
    assert list(coto.y) == [80, 70] and coto.line.dash != lora.line.dash
    assert [curve.showlegend for curve in figure.data[:4]] == [True, True, False, False]
