"""Lines over bands: the sweep over learning rates, and the lines between pairs of runs."""

from __future__ import annotations

import pytest
import torch

from coto_lab.figures._style import STYLES
from coto_lab.figures.pairs import pairs_figure
from coto_lab.figures.sweep import sweep_figure
from coto_lab.probes.interpolation import Curve


def shares(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def curve(*accuracy: float, alphas: tuple[float, ...] = (0, 0.5, 1)) -> Curve:
    return Curve(shares(*alphas), shares(*accuracy), 1 - shares(*accuracy), "fuse")


SWEEP = {0.1: shares(0.5, 0.7), 0.01: shares(0.9, 0.9)}
PAIRS = [curve(0.9, 0.6, 0.8), curve(0.9, 0.8, 0.8)]


def test_sweep_is_in_the_order_of_the_rates_with_mean_and_band() -> None:
    band, line = sweep_figure({"accuracy": {"CoTo": SWEEP}}).data
    deviation = 10 * 2**0.5  # of 50 and 70
    assert list(line.x) == [0.01, 0.1] and list(line.y) == pytest.approx([90, 60])
    assert list(line.customdata) == pytest.approx([0, deviation])
    assert list(band.x) == [0.01, 0.1, 0.1, 0.01]
    assert list(band.y) == pytest.approx([90, 60 + deviation, 60 - deviation, 90])
    assert band.legendgroup == line.legendgroup == line.name == "CoTo" and not band.showlegend


def test_sweep_has_a_panel_per_title_and_one_legend() -> None:
    figure = sweep_figure({"single runs": {"LoRA": SWEEP}, "fusions": {"LoRA": SWEEP, "CoTo": SWEEP}})
    lines = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert [(line.name, line.xaxis, line.showlegend) for line in lines] == [
        ("LoRA", "x", True), ("LoRA", "x2", False), ("CoTo", "x2", False)
    ]  # fmt: skip
    assert [annotation.text for annotation in figure.layout.annotations] == ["single runs", "fusions"]
    assert figure.layout.xaxis.type == "log" and list(figure.layout.xaxis.ticktext) == ["0.01", "0.1"]
    assert "learning rate" in figure.layout.xaxis2.title.text and "%" in figure.layout.yaxis.title.text


def test_pairs_show_accuracy_and_loss() -> None:
    figure = pairs_figure({"LoRA": PAIRS})
    accuracy, loss = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert list(accuracy.y) == pytest.approx([90, 70, 80]) and list(loss.y) == pytest.approx([0.1, 0.3, 0.2])
    assert list(accuracy.customdata) == pytest.approx([0, 10 * 2**0.5, 0])
    assert list(loss.customdata) == pytest.approx([0, 0.1 * 2**0.5, 0])
    assert (accuracy.xaxis, loss.xaxis) == ("x", "x2") and (accuracy.showlegend, loss.showlegend) == (True, False)
    assert "%" in figure.layout.yaxis.title.text and "nats" in figure.layout.yaxis2.title.text


def test_one_curve_has_no_band() -> None:
    assert [trace.mode for trace in pairs_figure({"LoRA": PAIRS[:1]}).data] == ["lines+markers"] * 2


def test_methods_look_as_everywhere() -> None:
    for figure in (pairs_figure({"LoRA": PAIRS, "CoTo": PAIRS}), sweep_figure({"": {"LoRA": SWEEP, "CoTo": SWEEP}})):
        assert figure.layout.height
        for trace in figure.data:
            look = STYLES[trace.legendgroup]
            if trace.fill:
                assert trace.fillcolor == look["color"]
            else:
                found = (trace.line.color, trace.line.dash, trace.marker.symbol)
                assert found == (look["color"], look["dash"], look["symbol"])


@pytest.mark.parametrize("curves", [[], [PAIRS[0], curve(0.9, 0.7, 0.8, alphas=(0, 0.4, 1))]])
def test_curves_that_cannot_be_averaged_are_refused(curves: list[Curve]) -> None:
    with pytest.raises(ValueError, match=rf"curves\['CoTo'\] has {len(curves)} curves"):
        pairs_figure({"CoTo": curves})


@pytest.mark.parametrize("scores", [{}, {0.1: shares(0.5), 0.2: shares(0.5, 0.6)}])
def test_sweeps_that_cannot_be_drawn_are_refused(scores: dict[float, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"panels\['accuracy'\]\['CoTo'\] must have a learning rate"):
        sweep_figure({"accuracy": {"CoTo": scores}})
