"""Differences with their intervals, a panel for each score."""

from __future__ import annotations

from coto_lab.figures.variants import variants_figure

DIFFERENCES = {
    "alone": {"LoRA": (0.5, -1.0, 2.0), "VeRA": (2.0, 1.0, 3.0), "IA3": (-2.0, -2.5, -1.5)},
    "fused": {"LoRA": (5.0, 4.0, 6.0), "VeRA": (0.0, -1.0, 1.0), "IA3": (0.0, 0.0, 0.0)},
}


def test_every_method_has_its_interval_in_every_panel() -> None:
    figure = variants_figure(DIFFERENCES)
    assert [trace.name for trace in figure.data] == [note.text for note in figure.layout.annotations] == list(DIFFERENCES)
    for trace, own in zip(figure.data, DIFFERENCES.values(), strict=True):
        assert list(trace.y) == list(own) and list(trace.x) == [mean for mean, _, _ in own.values()]
        ends = [
            (x - below, x + above)
            for x, below, above in zip(trace.x, trace.error_x.arrayminus, trace.error_x.array, strict=True)
        ]
        assert ends == [(low, high) for _, low, high in own.values()]


def test_a_marker_is_filled_where_the_interval_excludes_0() -> None:
    alone, fused = variants_figure(DIFFERENCES).data
    assert list(alone.marker.symbol) == ["circle-open", "circle", "circle"]
    assert list(fused.marker.symbol) == ["circle", "circle-open", "circle-open"]


def test_the_first_method_is_on_top_and_every_name_is_written() -> None:
    figure = variants_figure({"alone": {f"method {i}": (0.0, -1.0, 1.0) for i in range(17)}})
    assert figure.layout.yaxis.autorange == "reversed" and figure.layout.yaxis.dtick == 1
    assert figure.layout.height > 17 * 20
