from __future__ import annotations

import numpy as np
import pytest
import torch

from coto_lab.figures.geometry import cosine_figure, embedding_figure
from coto_lab.figures.style import STYLES
from coto_lab.probes.geometry import Geometry

POINTS = torch.tensor([[3.0, 0.0], [0.0, 4.0], [-3.0, 0.0], [0.0, -4.0]], dtype=torch.float64)
SQUARE = Geometry(("LoRA seed 0", "CoTo seed 0", "LoRA seed 1", "CoTo seed 1"), POINTS @ POINTS.T, "update")
METHODS = {name: name[:4] for name in SQUARE.names}


def test_cosine_figure_shows_every_pair_and_no_diagonal() -> None:
    figure = cosine_figure(SQUARE)
    (heat,) = figure.data
    assert list(heat.x) == list(heat.y) == list(SQUARE.names)
    assert [list(row) for row in heat.z] == [[None, 0, -1, 0], [0, None, 0, -1], [-1, 0, None, 0], [0, -1, 0, None]]
    assert (heat.zmin, heat.zmax, heat.texttemplate) == (-1, 1, "%{z:.2f}")
    assert "updates ΔW" in figure.layout.title.text


def test_colours_reach_to_the_largest_cosine_of_a_pair() -> None:
    vectors = torch.tensor([[1.0, 0.0], [-3.0, 4.0], [0.0, 0.0]], dtype=torch.float64)
    (heat,) = cosine_figure(Geometry(("a", "b", "zero"), vectors @ vectors.T, "factors")).data
    assert heat.zmax == pytest.approx(0.6) and heat.zmin == -heat.zmax
    assert list(heat.z[2]) == [None, None, None]  # a vector that is 0 has no direction


def test_many_cells_carry_no_numbers() -> None:
    many = torch.eye(13, dtype=torch.float64)
    (heat,) = cosine_figure(Geometry(tuple(map(str, range(13))), many, "update")).data
    assert heat.texttemplate is None and (heat.zmin, heat.zmax) == (-1, 1)


def test_map_has_a_colour_and_a_symbol_per_method() -> None:
    figure = embedding_figure(SQUARE, METHODS, {"LoRA seed 0": "lr 0.01"})
    assert [trace.name for trace in figure.data] == ["LoRA", "CoTo"]
    for trace, members in zip(figure.data, ([0, 2], [1, 3]), strict=True):
        look = STYLES[trace.name]
        assert (trace.marker.color, trace.marker.symbol) == (look["color"], look["symbol"])
        assert list(trace.hovertext) == [SQUARE.names[i] for i in members]
        shown = torch.from_numpy(np.stack([trace.x, trace.y], axis=1))
        torch.testing.assert_close(shown, SQUARE.embedding()[members])
    assert list(figure.data[0].text) == ["lr 0.01", ""] and figure.layout.yaxis.scaleanchor == "x"


def test_principal_axes_tell_their_share_of_the_variance() -> None:
    layout = embedding_figure(SQUARE, METHODS).layout
    # Squares 9 + 9 on one axis, 16 + 16 on the other.
    assert layout.xaxis.title.text == "principal axis 1, 64% of the variance"
    assert layout.yaxis.title.text == "principal axis 2, 36% of the variance"


def test_tsne_axes_have_no_unit() -> None:
    figure = embedding_figure(SQUARE, METHODS, how="tsne", seed=1)
    assert "no unit" in figure.layout.xaxis.title.text and "t-SNE" in figure.layout.title.text
    x = torch.cat([torch.tensor(trace.x) for trace in figure.data])
    assert x.tolist() == SQUARE.embedding("tsne", seed=1)[[0, 2, 1, 3], 0].tolist()


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"methods lacks \['CoTo seed 1'\]"):
        embedding_figure(SQUARE, dict.fromkeys(SQUARE.names[:3], "x"))
    with pytest.raises(ValueError, match="how='umap'"):
        embedding_figure(SQUARE, METHODS, how="umap")
