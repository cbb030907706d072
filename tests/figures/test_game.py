"""The figure of a coalition holds what it earns and what every player adds, as counted by hand."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from torch import Tensor

from coto_lab.figures import game_figure
from coto_lab.figures.game import coalition
from coto_lab.figures.style import STYLES

GLOVES = torch.tensor([0.0, 0, 0, 6, 0, 6, 0, 6])
PLAYERS = ["left", "right 1", "right 2"]
GAMES = {"LoRA": GLOVES, "CoTo": -2 * GLOVES}


def mask(*members: int) -> Tensor:
    return torch.tensor([i in members for i in range(3)])


@pytest.mark.parametrize(
    ("members", "earned", "adds"),
    [((), 0, [0, 0, 0]), ((0,), 0, [0, 6, 6]), ((1, 2), 0, [6, 0, 0]), ((0, 1), 6, [6, 6, 0]), ((0, 1, 2), 6, [6, 0, 0])],
)
def test_coalitions_of_gloves(members: tuple[int, ...], earned: float, adds: list[float]) -> None:
    found, contributions = coalition(GLOVES, mask(*members))
    assert (found, contributions.tolist()) == (earned, adds)
    total, inside, outside, values = game_figure(GAMES, "LoRA", mask(*members), PLAYERS).data
    assert list(total.y) == [earned]
    assert list(inside.y) == [value if i in members else None for i, value in enumerate(adds)]
    assert list(outside.y) == [None if i in members else value for i, value in enumerate(adds)]
    assert set(values.y) == {None} and not values.showlegend


def test_shapley_values_are_marked_on_demand() -> None:
    *_, values = game_figure(GAMES, "LoRA", mask(0), PLAYERS, shapley=True).data
    np.testing.assert_allclose(values.y, [4, 1, 1])
    assert values.showlegend


def test_games_share_the_axes_and_all_that_can_happen_fits() -> None:
    figures = [game_figure(GAMES, name, mask(0), PLAYERS, unit="%") for name in GAMES]
    for axis in ("yaxis", "yaxis2"):
        (low, high), other = (figure.layout[axis].range for figure in figures)
        assert (low, high) == other
    assert low < -12 and high > 6
    assert [figures[0].layout[axis].title.text for axis in ("yaxis", "yaxis2")] == ["v, %", "marginal contribution, points"]
    assert figures[1].data[1].marker.color == STYLES["CoTo"]["color"]


def test_figure_is_updated_in_place() -> None:
    figure = game_figure(GAMES, "LoRA", mask(), PLAYERS)
    traces = figure.data
    assert game_figure(GAMES, "CoTo", mask(0, 2), PLAYERS, shapley=True, figure=figure) is figure
    assert all(before is after for before, after in zip(traces, figure.data, strict=True))
    fresh = game_figure(GAMES, "CoTo", mask(0, 2), PLAYERS, shapley=True)
    assert [trace.to_plotly_json() for trace in figure.data] == [trace.to_plotly_json() for trace in fresh.data]
    assert isinstance(fresh, go.Figure) and fresh.layout.height
