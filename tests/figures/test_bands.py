"""Lines over bands: the sweep over learning rates, and the lines between pairs of runs."""

from __future__ import annotations

import pytest
import torch

from coto_lab.figures.pairs import pairs_figure
from coto_lab.figures.style import STYLES
from coto_lab.figures.sweep import sweep_figure
from coto_lab.probes.interpolation import Curve


def shares(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def curve(*accuracy: float, alphas: tuple[float, ...] = (0, 0.5, 1)) -> Curve:
    return Curve(shares(*alphas), shares(*accuracy), 1 - shares(*accuracy), "fuse")


SWEEP = {0.1: shares(0.5, 0.7), 0.01: shares(0.9, 0.9)}
PAIRS = [curve(0.9, 0.6, 0.8), curve(0.9, 0.8, 0.8), curve(0.9, 0.7, 0.8)]


COLLAPSING = {0.02: shares(0.94, 0.92, 0.93), 0.04: shares(0.15, 0.93, 0.2)}


def test_sweep_is_in_the_order_of_the_rates_with_every_run_and_the_means() -> None:
    dots, line = sweep_figure({"accuracy": {"CoTo": {0.1: shares(0.85, 0.87), 0.01: shares(0.9, 0.9)}}}).data
    assert list(line.x) == [0.01, 0.1] and list(line.y) == pytest.approx([90, 86])
    assert list(dots.x) == [0.01, 0.01, 0.1, 0.1] and list(dots.y) == pytest.approx([90, 90, 85, 87])
    assert dots.legendgroup == line.legendgroup == line.name == "CoTo" and not dots.showlegend


def test_sweep_has_a_panel_per_title_and_one_legend() -> None:
    alive = {0.1: shares(0.85, 0.87), 0.01: shares(0.9, 0.9)}
    figure = sweep_figure({"single runs": {"LoRA": alive}, "fusions": {"LoRA": alive, "CoTo": alive}})
    lines = [trace for trace in figure.data if trace.mode == "lines"]
    assert [(line.name, line.xaxis, line.showlegend) for line in lines] == [
        ("LoRA", "x", True), ("LoRA", "x2", False), ("CoTo", "x2", True)
    ]  # fmt: skip
    assert [annotation.text for annotation in figure.layout.annotations] == ["single runs", "fusions"]
    assert figure.layout.xaxis.type == "log" and list(figure.layout.xaxis.ticktext) == ["0.01", "0.1"]
    assert "learning rate" in figure.layout.xaxis2.title.text and "%" in figure.layout.yaxis.title.text


def test_collapsed_runs_do_not_squash_the_others() -> None:
    figure = sweep_figure({"one": {"LoRA": COLLAPSING}, "two": {"LoRA": COLLAPSING, "CoTo": {0.02: shares(0.9, 0.95)}}})
    enlarged, whole = figure.layout.yaxis.range, figure.layout.yaxis3.range
    assert enlarged == pytest.approx((89.3, 95.7)), "from the lowest run that did not collapse to the best"
    assert whole[0] == 0 and whole[1] >= 100
    assert figure.layout.xaxis.matches == "x3" and figure.layout.xaxis3.title.text == "learning rate"
    dots = [list(trace.y) for trace in figure.data if trace.name == "LoRA, single values"]
    assert dots == [pytest.approx([94, 92, 93, 15, 93, 20])] * 4, "each run, in both rows of both panels"
    assert sum(bool(trace.showlegend) for trace in figure.data) == 1 + 1


def test_pairs_show_accuracy_and_loss() -> None:
    figure = pairs_figure({"LoRA": PAIRS})
    accuracy, loss = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert list(accuracy.y) == pytest.approx([90, 70, 80]) and list(loss.y) == pytest.approx([0.1, 0.3, 0.2])
    assert list(accuracy.customdata) == pytest.approx([0, 10, 0])
    assert list(loss.customdata) == pytest.approx([0, 0.1, 0])
    assert (accuracy.xaxis, loss.xaxis) == ("x", "x2") and (accuracy.showlegend, loss.showlegend) == (True, False)
    assert "%" in figure.layout.yaxis.title.text and "nats" in figure.layout.yaxis2.title.text


def test_one_curve_has_no_band() -> None:
    assert [trace.mode for trace in pairs_figure({"LoRA": PAIRS[:1]}).data] == ["lines+markers"] * 2


def test_two_curves_have_no_band_and_a_dot_for_each_value() -> None:
    dots, line, *_ = pairs_figure({"LoRA": PAIRS[:2]}).data
    assert (dots.mode, list(dots.x), list(dots.y)) == ("markers", [0, 0.5, 1] * 2, pytest.approx([90, 60, 80, 90, 80, 80]))
    assert list(line.y) == pytest.approx([90, 70, 80]) and "deviation" not in line.hovertemplate


def test_methods_look_as_everywhere() -> None:
    for figure in (pairs_figure({"LoRA": PAIRS, "CoTo": PAIRS}), sweep_figure({"": {"LoRA": SWEEP, "CoTo": SWEEP}})):
        assert figure.layout.height
        for trace in figure.data:
            look = STYLES[trace.legendgroup]
            if trace.fill:
                assert trace.fillcolor == look["color"]
            elif "lines" in trace.mode:
                assert (trace.line.color, trace.line.dash) == (look["color"], look["dash"])
            else:
                assert (trace.marker.color, trace.marker.symbol) == (look["color"], look["symbol"] + "-open")


@pytest.mark.parametrize("curves", [[], [PAIRS[0], curve(0.9, 0.7, 0.8, alphas=(0, 0.4, 1))]])
def test_curves_that_cannot_be_averaged_are_refused(curves: list[Curve]) -> None:
    with pytest.raises(ValueError, match=rf"curves\['CoTo'\] has {len(curves)} curves"):
        pairs_figure({"CoTo": curves})


@pytest.mark.parametrize("scores", [{}, {0.1: shares(0.5), 0.2: shares(0.5, 0.6)}])
def test_sweeps_that_cannot_be_drawn_are_refused(scores: dict[float, torch.Tensor]) -> None:
    with pytest.raises(ValueError, match=r"panels\['accuracy'\]\['CoTo'\] must have a learning rate"):
        sweep_figure({"accuracy": {"CoTo": scores}})
