from __future__ import annotations

import pytest
import torch

from coto_lab.figures.stability import barrier_figure, jensen_figure, stability_figure
from coto_lab.figures.style import STYLES
from coto_lab.probes.stability import Stability
from coto_lab.probes.theory import BarrierBound, JensenTable


def doubles(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def record(*accuracy: float) -> Stability:
    masks = torch.tensor([[0, 0], [1, 0], [0, 1], [1, 1]]).bool()
    return Stability(masks, doubles(*accuracy), doubles(2, 1, 1, 0))


TABLES = {
    name: JensenTable(doubles(0, 0.5, 1), doubles(2, middle, 0.25), doubles(2, middle / 2, 0.25))
    for name, middle in (("LoRA", 1.5), ("CoTo", 0.75), ("mine", 1.0))
}
BOUNDS = {
    name: BarrierBound(
        torch.tensor([[0, 1], [0, 2]]),
        doubles(top / 2, top / 4),
        doubles(top, top / 2),
        {"fuse": doubles(0.5, 0.25), "ensemble": doubles(0, 0.125)},
    )
    for name, top in (("LoRA", 2.0), ("CoTo", 1.0))
}


def test_stability_figure_draws_mean_and_range_in_percent() -> None:
    band, mean = stability_figure({"CoTo": record(0.25, 0.5, 0.75, 1.0)}).data
    assert (list(mean.x), list(mean.y), mean.name) == ([0, 50, 100], [25, 62.5, 100], "CoTo")
    assert list(band.x) == [0, 50, 100, 100, 50, 0]
    assert list(band.y) == [25, 75, 100, 100, 50, 25]  # up along the best masks, back along the worst
    assert band.fill == "toself" and not band.showlegend


def test_stability_figure_pools_seeds() -> None:
    band, mean = stability_figure({"LoRA": [record(0.25, 0.5, 0.75, 1.0), record(0.25, 0.0, 0.5, 0.5)]}).data
    assert mean.name == "LoRA, 2 seeds"
    assert list(mean.y) == pytest.approx([25, 43.75, 75])
    assert list(band.y) == [25, 75, 100, 50, 0, 25]


def test_jensen_figure_draws_both_sides_of_every_method() -> None:
    figure = jensen_figure(TABLES)
    assert [annotation.text for annotation in figure.layout.annotations] == list(TABLES)
    for column, (name, table) in enumerate(TABLES.items(), start=1):
        axis = "x" if column == 1 else f"x{column}"
        right, left, whole = (trace for trace in figure.data if trace.xaxis == axis)
        assert right.y.tolist() == table.mean_prediction_loss.tolist() and right.x.tolist() == [0, 0.5, 1]
        assert left.y.tolist() == table.expected_loss.tolist()
        assert left.fill == "tonexty" and left.line.dash != right.line.dash  # the gap, and a cue besides the height
        assert list(whole.y) == [0.25, 0.25]
        if name in STYLES:
            assert left.line.color == right.line.color == STYLES[name]["color"]
    assert sum(trace.showlegend for trace in figure.data) == 3


def test_barrier_figure_has_a_marker_for_every_pair() -> None:
    figure = barrier_figure(BOUNDS)
    for axis, changes in (("x", "mean_change"), ("x2", "worst_change")):
        *points, equal = (trace for trace in figure.data if trace.xaxis == axis)
        assert [trace.name for trace in points] == [
            "LoRA, fused factors", "LoRA, ensemble", "CoTo, fused factors", "CoTo, ensemble",
        ]  # fmt: skip
        largest = max(getattr(bound, changes).max().item() for bound in BOUNDS.values())
        assert list(equal.x) == list(equal.y) == [0, largest]
        for trace in points:
            name, mixture = trace.name.split(", ")
            how = {"fused factors": "fuse", "ensemble": "ensemble"}[mixture]
            assert trace.x.tolist() == getattr(BOUNDS[name], changes).tolist()
            assert trace.y.tolist() == BOUNDS[name].barriers[how].tolist()
            assert trace.marker.color == STYLES[name]["color"]
            assert trace.marker.symbol == STYLES[name]["symbol"] + ("-open" if how == "ensemble" else "")


def test_axes_have_units() -> None:
    for figure, units in (
        (stability_figure({"LoRA": record(0.25, 0.5, 0.75, 1.0)}), ("%", "%")),
        (jensen_figure(TABLES), ("probability p", "nats")),
        (barrier_figure(BOUNDS), ("nats", "nats")),
    ):
        assert units[0] in figure.layout.xaxis.title.text and units[1] in figure.layout.yaxis.title.text
        assert figure.layout.height
