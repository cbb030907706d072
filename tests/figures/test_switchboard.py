"""The switchboard's figure holds what was read, counted as scikit-learn counts it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
import sklearn.metrics
import torch
from torch import Tensor
from torch.nn import functional as F

from coto_lab import Scores
from coto_lab.figures.lines import ONE_WIDTH
from coto_lab.figures.style import STYLES
from coto_lab.figures.switchboard import switchboard_figure
from coto_lab.figures.theme import INK
from coto_lab.figures.tiles import WRONG
from coto_lab.tasks import Example

CLASSES = tuple("abcd")


def scored(predicted: Tensor, labels: Tensor) -> Scores:
    """Of one variant."""
    correct = (predicted == labels).double()[None]
    return Scores(("CoTo",), {"loss": 1 - correct, "correct": correct}, F.one_hot(predicted, 4).float()[None], labels)


def draw(predicted: Tensor | None, labels: Tensor, images: Tensor, **options: object) -> go.Figure:
    examples = [Example(CLASSES[i], image=image) for i, image in zip(labels.tolist(), images, strict=True)]
    scores = None if predicted is None else scored(predicted, labels)
    return switchboard_figure(scores, examples, labels, CLASSES, **options)


@pytest.fixture
def read() -> tuple[Tensor, Tensor, Tensor]:
    """What is read in 40 images, what they show, and the images; the class d has two of them."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.cat([torch.randint(3, (38,), generator=generator), torch.tensor([3, 3])])
    predicted = torch.where(torch.rand(40, generator=generator) < 0.6, labels, (labels + 1) % 3)
    return predicted, labels, torch.rand(40, 1, 8, 6, generator=generator) * 2 - 1


def test_figure_holds_accuracy_counts_and_what_is_read_in_the_samples(read: tuple[Tensor, Tensor, Tensor]) -> None:
    predicted, labels, images = read
    figure = draw(predicted, labels, images, name="CoTo", whole=0.95)
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
    mistakes, hits = draw(predicted, labels, torch.zeros(100, 1, 2, 2)).data[2:4]
    assert (mistakes.zmin, mistakes.zmax) == (0, max(5, wrong)) and hits.zmax == 100
    assert mistakes.z[0][1] == wrong and mistakes.colorscale[-1] != hits.colorscale[-1]


def test_samples_stand_upright_in_the_column_of_their_class(read: tuple[Tensor, Tensor, Tensor]) -> None:
    predicted, labels, images = read
    figure = draw(predicted, labels, images)
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
    figure = draw(None, labels, images)
    traces, axes = figure.data, figure.layout.to_plotly_json()
    assert list(figure.data[0].x) == [] and not np.any(np.array(figure.data[2].z))
    assert set(figure.data[-1].text) == {""}
    for now, name in ((labels, "LoRA"), (predicted, "CoTo")):
        assert draw(now, labels, images, name=name, whole=0.9, figure=figure) is figure
        assert all(before is after for before, after in zip(traces, figure.data, strict=True))
    assert figure.layout.to_plotly_json() == axes
    assert figure.to_dict() == draw(predicted, labels, images, name="CoTo", whole=0.9).to_dict()


def test_axes_say_what_they_show(read: tuple[Tensor, Tensor, Tensor]) -> None:
    layout = draw(*read).layout
    assert "%" in layout.xaxis.title.text
    assert [layout[axis].title.text for axis in ("xaxis2", "yaxis2", "xaxis3")] == [
        "predicted class",
        "true class",
        "true class",
    ]
    assert layout.height


def test_digits_are_called_digits() -> None:
    labels = torch.arange(10)
    examples = [Example(str(i), image=torch.zeros(1, 2, 2)) for i in range(10)]
    layout = switchboard_figure(None, examples, labels, tuple("0123456789")).layout
    assert [layout[axis].title.text for axis in ("xaxis2", "yaxis2", "xaxis3")] == [
        "predicted digit",
        "true digit",
        "true digit",
    ]
    assert layout.annotations[1].text == "samples, and below each the predicted digit"


def without_classes(right: list[bool]) -> Scores:
    correct = torch.tensor([right]).double()
    return Scores(("LoRA",), {"loss": 1 - correct, "correct": correct})


def test_without_classes_there_are_samples_alone() -> None:
    texts = [Example(f"answer {i}", text=f"question {i}") for i in range(40)]
    figure = switchboard_figure(None, texts)
    right = [i % 3 == 0 for i in range(40)]
    assert switchboard_figure(without_classes(right), texts, name="LoRA", figure=figure) is figure
    bar, _, cells, words = figure.data
    assert list(bar.x) == [pytest.approx(100 * 14 / 40)]
    assert [text[0] for text in words.text] == ["✓" if ok else "✗" for ok in right[:30]], "a second cue beside the colour"
    assert len(set(words.textfont.color)) == 2
    assert words.text[4] == "✗  question 4 → answer 4" and cells.text[2][0] == "question 4<br>right answer: answer 4"
    assert "confusion matrix" not in [annotation.text for annotation in figure.layout.annotations]


def test_images_without_classes_have_a_mark_below_each() -> None:
    examples = [Example("a cat", image=torch.rand(1, 4, 4)) for _ in range(60)]
    figure = switchboard_figure(without_classes([True] * 7 + [False] * 53), examples)
    *_, tiles, words = figure.data
    assert list(words.text) == ["✓"] * 7 + ["✗"] * 43
    assert np.array_equal(tiles.z[:4, :4], examples[0].image[0])
    assert figure.layout.yaxis2.scaleanchor == "x2"


def test_texts_with_classes_take_turns_beside_the_confusion_matrix() -> None:
    labels = torch.tensor([0] * 20 + [1] * 3 + [2, 3])
    examples = [Example(CLASSES[i], text=f"text {n}") for n, i in enumerate(labels.tolist())]
    *_, mistakes, _, _, words = switchboard_figure(scored(labels.flip(0), labels), examples, labels, CLASSES).data
    assert [text.split("  ")[1] for text in words.text] == [
        f"text {n} → {CLASSES[labels[n]]}" for n in (0, 20, 23, 24, 1, 21, 2, 22, 3, 4)
    ]
    assert words.text[0].startswith("d ✗") and np.nansum(np.array(mistakes.z, dtype=float)) > 0
    assert mistakes.hovertemplate.startswith("%{z} examples of a")


def test_texts_show_the_models_answers_where_the_scores_have_them() -> None:
    texts = [Example(f"{i:02};", text=f"!{i:02}=") for i in range(40)]
    figure = switchboard_figure(None, texts)
    assert figure.data[-1].text[3] == "!03= → 03;" and "right answer" in figure.layout.annotations[-1].text
    for shift in (1, 2):  # drawn, and drawn again
        said = tuple(example.answer if i % 3 else f"{(i + shift) % 40:02};" for i, example in enumerate(texts))
        scores = replace(without_classes([bool(i % 3) for i in range(40)]), said=(said,))
        assert switchboard_figure(scores, texts, name="LoRA", figure=figure) is figure
        *_, cells, words = figure.data
        assert words.text[4] == "✓  !04= → 04;"
        assert words.text[3] == (
            f'<span style="color:{WRONG}">✗</span>  !03= → 0<span style="color:{WRONG}"><b><u>{3 + shift}</u></b></span>; '
            f'<span style="color:{INK}">(03;)</span>'
        )
        assert cells.text[1][1] == f"!03=<br>model's answer: 0{3 + shift};<br>right answer:   03;"
        assert (words.textfont.family, words.textfont.color) == (ONE_WIDTH, INK)
        assert cells.hoverlabel.font.family == ONE_WIDTH
        assert figure.layout.annotations[-1].text == "samples: text → answer (right answer), wrong characters underlined"


def test_answers_to_images_are_not_written_below_them() -> None:
    examples = [Example("a cat", image=torch.rand(1, 4, 4)) for _ in range(3)]
    figure = switchboard_figure(replace(without_classes([True] * 3), said=(("a dog",) * 3,)), examples)
    assert list(figure.data[-1].text) == ["✓"] * 3 and "answer (" not in figure.layout.annotations[-1].text
