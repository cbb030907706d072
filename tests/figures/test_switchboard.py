"""The switchboard's figure holds what was read, counted as scikit-learn counts it."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
import torch
from torch import Tensor

from coto_lab.figures._style import STYLES
from coto_lab.figures.switchboard import confusion_matrix, switchboard_figure

CLASSES = tuple("abcd")


@pytest.fixture
def read() -> tuple[Tensor, Tensor, Tensor]:
    """What is read in 40 images, what they show, and the images; the class d has two of them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.randint(3, (38,), generator=generator), torch.tensor([3, 3])])
    predicted = torch.where(torch.rand(40, generator=generator) < 0.6, labels, (labels + 1) % 3)
    return predicted, labels, torch.rand(40, 1, 8, 6, generator=generator) * 2 - 1


def test_confusion_matrix_is_that_of_sklearn(read: tuple[Tensor, Tensor, Tensor]) -> None:
    predicted, labels, _ = read
    for n_classes in (4, 5):  # also where a class is neither true nor read
        theirs = sklearn.metrics.confusion_matrix(labels, predicted, labels=range(n_classes))
        np.testing.assert_array_equal(confusion_matrix(predicted, labels, n_classes), theirs)


def test_figure_holds_accuracy_counts_and_what_is_read_in_the_samples(read: tuple[Tensor, Tensor, Tensor]) -> None:
    predicted, labels, images = read
    figure = switchboard_figure(predicted, labels, images, CLASSES, name="CoTo", whole=0.95)
    bar, mark, mistakes, hits, _, text = figure.data
    accuracy = 100 * sklearn.metrics.accuracy_score(labels, predicted)
    assert (list(bar.x), list(bar.text), list(mark.x)) == ([pytest.approx(accuracy)], [f"{accuracy:.1f}%"], [95])
    assert bar.marker.color == STYLES["CoTo"]["color"]
    counts = sklearn.metrics.confusion_matrix(labels, predicted)
    shown = np.array(mistakes.z, dtype=float), np.array(hits.z, dtype=float)  # a count of 0 is None, which becomes NaN
    np.testing.assert_array_equal(np.nan_to_num(shown[0]), counts - np.diag(counts.diagonal()))
    np.testing.assert_array_equal(np.nan_to_num(shown[1]), np.diag(counts.diagonal()))
    assert not (np.isfinite(shown[0]) & np.isfinite(shown[1])).any(), "each cell has one colour"
    assert figure.layout.yaxis2.autorange == "reversed"  # class a on top, as in the matrix
    firsts = torch.cat([(labels == i).nonzero().flatten()[:5] for i in range(4)]).tolist()
    assert len(firsts) == 5 + 5 + 5 + 2
    wanted = [f"{CLASSES[predicted[i]]} {'✓' if predicted[i] == labels[i] else '✗'}" for i in firsts]
    assert list(text.text) == wanted


@pytest.mark.parametrize("wrong", [1, 20])
def test_colours_of_mistakes_reach_as_far_as_mistakes_do(wrong: int) -> None:
    labels = torch.zeros(100, dtype=torch.int64)
    predicted = (torch.arange(100) < wrong).long()
    mistakes, hits = switchboard_figure(predicted, labels, torch.zeros(100, 1, 2, 2), CLASSES).data[2:4]
    assert (mistakes.zmin, mistakes.zmax) == (0, max(5, wrong)) and hits.zmax == 100
    assert mistakes.z[0][1] == wrong and mistakes.colorscale[-1] != hits.colorscale[-1]


def test_samples_stand_upright_in_the_column_of_their_class(read: tuple[Tensor, Tensor, Tensor]) -> None:
    predicted, labels, images = read
    figure = switchboard_figure(predicted, labels, images, CLASSES)
    *_, tiles, text = figure.data
    canvas, axis = torch.as_tensor(tiles.z), figure.layout.xaxis3
    assert figure.layout.yaxis3.range[0] > figure.layout.yaxis3.range[1]  # row 0 on top
    assert list(axis.ticktext) == list(CLASSES)
    for column in range(4):
        for row, index in enumerate((labels == column).nonzero().flatten()[:5].tolist()):
            left, top = round(axis.tickvals[column] - 2.5), round(row * 12.8)
            assert torch.equal(canvas[top : top + 8, left : left + 6], images[index, 0])
            assert (axis.tickvals[column], top + 8) <= (text.x[5 * column + row], text.y[5 * column + row])
    assert sum(trace.type == "heatmap" for trace in figure.data) == 3  # one for all the samples


def test_figure_is_updated_in_place(read: tuple[Tensor, Tensor, Tensor]) -> None:
    predicted, labels, images = read
    figure = switchboard_figure(None, labels, images, CLASSES)
    traces, axes = figure.data, figure.layout.to_plotly_json()
    assert list(figure.data[0].x) == [] and not np.any(np.array(figure.data[2].z))
    assert set(figure.data[-1].text) == {""}
    for now, name in ((labels, "LoRA"), (predicted, "CoTo")):
        assert switchboard_figure(now, labels, images, CLASSES, name=name, whole=0.9, figure=figure) is figure
        assert all(before is after for before, after in zip(traces, figure.data, strict=True))
    assert figure.layout.to_plotly_json() == axes
    assert figure.to_dict() == switchboard_figure(predicted, labels, images, CLASSES, name="CoTo", whole=0.9).to_dict()


def test_axes_say_what_they_show(read: tuple[Tensor, Tensor, Tensor]) -> None:
    layout = switchboard_figure(*read, CLASSES).layout
    assert "%" in layout.xaxis.title.text
    assert [layout[axis].title.text for axis in ("xaxis2", "yaxis2", "xaxis3")] == [
        "predicted digit",
        "true digit",
        "true digit",
    ]
    assert layout.height
