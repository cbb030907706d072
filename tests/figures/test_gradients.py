from __future__ import annotations

import json

import pytest
import torch

from coto_lab import Run
from coto_lab.figures.gradients import gradient_balance_figure
from coto_lab.probes.gradients import GradientBalance, gradient_balance


def balance(share: list[list[float]], overall: list[float]) -> GradientBalance:
    names = tuple(f"vit.layers.{i}" for i in range(len(share)))
    return GradientBalance(names, torch.tensor([0, 4, 7]), torch.tensor(share), torch.tensor(overall), "open step")


def test_a_panel_per_method_on_one_scale_with_the_entropy_above(runs: tuple[Run, Run]) -> None:
    balances = {name: gradient_balance(run.history, bins=5) for name, run in zip(("LoRA", "CoTo"), runs, strict=True)}
    figure = gradient_balance_figure(balances)
    for name, heat, title in zip(balances, figure.data, figure.layout.annotations, strict=True):
        assert (heat.name, heat.coloraxis, list(heat.y)) == (name, "coloraxis", ["0", "1", "2", "3"])
        torch.testing.assert_close(torch.tensor(heat.z), balances[name].share)
        assert title.text == f"{name}<br>entropy {balances[name].entropy:.3f}"
    assert (figure.layout.coloraxis.cmin, figure.layout.coloraxis.cmax) == (0, 0.75)
    assert list(figure.layout.coloraxis.colorbar.ticktext) == ["0", "0.25 (even)", "0.5", "0.75"]
    assert figure.layout.xaxis.range == (0, 16)


def test_unknown_bins_are_blank_and_the_others_lie_at_their_steps() -> None:
    nan = float("nan")
    figure = gradient_balance_figure({"CoTo": balance([[nan, 0.25], [nan, 0.75]], [0.5, 0.5])})
    (heat,) = figure.data
    assert [list(row) for row in heat.z] == [[None, 0.25], [None, 0.75]] and heat.x.tolist() == [2, 5.5]
    assert "NaN" not in json.dumps(json.loads(figure.to_json()))
    assert "per open step" in figure.layout.coloraxis.colorbar.title.text


@pytest.mark.parametrize(("n", "rows", "labelled"), [(1, 1, 1), (3, 1, 3), (4, 2, 3), (5, 2, 3)])
def test_panels_wrap_after_three(n: int, rows: int, labelled: int) -> None:
    figure = gradient_balance_figure({str(i): balance([[0.5, 1], [0.5, 0]], [0.5, 0.5]) for i in range(n)})
    bottoms = {round(figure.layout[key].domain[0], 6) for key in figure.layout if key.startswith("yaxis")}
    titles = [figure.layout[key].title.text for key in figure.layout if key.startswith("xaxis")]
    assert len(figure.data) == n and len(bottoms) == rows and titles.count("optimiser step") == labelled
    assert figure.layout.yaxis.title.text and figure.layout.height == 100 + 240 * rows
