from __future__ import annotations

import pytest
import torch

from coto_lab.figures.method_update import layer_update_figure, percent_of
from coto_lab.probes.method_update import LayerUpdate

WEIGHT = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0])).double()


def update(*change: float, dropped: float = 0.0) -> LayerUpdate:
    return LayerUpdate("block", WEIGHT, torch.diag(torch.tensor(change)).double(), 8, 0.0, dropped, 0.25)


def test_panels_hold_what_was_found() -> None:
    found = update(0, 3, 0, 4)
    figure = layer_update_figure(found, "query, block 1")
    heat, weight, singular, even, share, bars = figure.data
    assert torch.equal(torch.tensor(heat.z), found.change.float())
    assert list(weight.y) == [4, 3, 2, 1]
    assert list(singular.y) == pytest.approx([4, 3, None, None]), "what is 0 is not on a logarithmic axis"
    assert list(share.y) == pytest.approx([0, 36, 36, 100])
    assert list(even.y) == pytest.approx([100 / 16, 400 / 16, 900 / 16, 100])
    assert (list(bars.y), list(bars.text)) == ([0, 0, 25], ["0, exactly", "0, exactly", "25%"])
    assert figure.layout.annotations[0].text == "ΔW of query, block 1" and figure.layout.height
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (-4, 4)


def test_it_is_redrawn_in_place() -> None:
    figure = layer_update_figure(update(0, 3, 0, 4))
    other = update(5, 0, 0, 0, dropped=0.7)
    assert layer_update_figure(other, "value", figure) is figure
    expected = layer_update_figure(other, "value")
    assert figure.to_plotly_json()["data"] == expected.to_plotly_json()["data"]
    assert [axis.range for axis in figure.select_yaxes()] == [axis.range for axis in expected.select_yaxes()]
    assert figure.layout.annotations[0].text == "ΔW of value"


def test_an_update_of_zeros_is_drawn() -> None:
    figure = layer_update_figure(update(0, 0, 0, 0))
    assert figure.layout.coloraxis.cmax == 1


@pytest.mark.parametrize(
    ("share", "words"), [(0.0, "0, exactly"), (2e-7, "less than 0.001%"), (0.0123, "1.2%"), (0.5, "50%"), (1.4, "140%")]
)
def test_an_exact_zero_is_told_from_rounding(share: float, words: str) -> None:
    assert percent_of(share) == words
