"""Answers of an adapter with some of its gates closed: accuracy, confusion matrix, and samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots
from torch import Tensor

from coto_lab.figures.answers import ANSWERED
from coto_lab.figures.confusion import confusion_traces, count_mistakes
from coto_lab.figures.examples import are_images, class_word, exhibit, font_of, kind_of, words_of
from coto_lab.figures.lines import cells_of
from coto_lab.figures.style import GUESS_COLOR, dress, style
from coto_lab.scoring.scores import Scores
from coto_lab.tasks.task import Example

_SAMPLES = 5  # images of each class, or rows of images for tasks without classes
_COLUMNS = 10  # columns of images for tasks without classes
_LINES = 15  # lines of text samples


def switchboard_figure(
    scores: Scores | None,
    examples: Sequence[Example],
    labels: Tensor | None = None,
    classes: Sequence[str] = (),
    *,
    name: str = "",
    position: int = 0,
    whole: float | None = None,
    figure: Any = None,
) -> Any:
    """Accuracy as a bar, samples with their predicted classes, and the confusion matrix (true × predicted class).

    The colour scale of the mistakes ends at the count of the most frequent mistake. The diagonal has another colour, and counts
    of 0 have none. If the samples are images, they are the first five of each class, one column per class; if they are texts,
    they are a list in which the classes alternate. For a task without classes only samples are shown, marked as right (✓) or
    wrong (✗); where the scores have the model's answers to texts, each line has the answer, with its wrong characters marked.

    Args:
        scores: the scores of one variant, with class logits if the task has classes, and perhaps with answers as text if it has
            none; None before there is anything to show.
        examples: all N examples.
        labels: the true classes, int64 ``[N]``; None for tasks without classes.
        classes: names of the classes.
        name: name of the method, for the bar's colour.
        position: position of the method among those shown elsewhere; it chooses the colour of an unknown method.
        whole: accuracy with all adapters open, as a share; drawn as a mark beside the bar.
        figure: a figure of an earlier call with the same examples, updated in place; None makes a new one.
    """
    if figure is None:
        figure = _empty_figure(examples, labels, classes)
    if scores is None:
        return figure
    samples, _ = _samples(examples, labels, len(classes))
    right = (scores.values["correct"][0, samples] == 1).tolist()
    marks = ["✓" if ok else "✗" for ok in right]
    predicted = None if labels is None else scores.logits[0].argmax(-1)
    if predicted is not None:
        marks = [f"{classes[i]} {mark}" for i, mark in zip(predicted[samples].tolist(), marks, strict=True)]
    accuracy = scores.accuracy[0].item() * 100
    look = style(name, position)
    bar, mark, *confusion, cells, words = figure.data
    said = None if scores.said is None or are_images(examples) else [scores.said[0][i] for i in samples]
    with figure.batch_update():
        bar.update(x=[accuracy], text=[f"{accuracy:.1f}%"])
        bar.marker.update(
            color=look["color"], pattern={"shape": look["pattern"], "fgcolor": "white", "fgopacity": 0.4, "size": 6}
        )
        if whole is not None:
            mark.update(x=[whole * 100])
        if predicted is not None and labels is not None:
            count_mistakes(confusion[0], confusion[1], predicted, labels, len(classes))
        words.update(text=words_of(examples, samples, marks, said=said))
        words.textfont.update(font_of(right, said))
        if said is not None:
            boxes = cells_of([examples[i] for i in samples], _shape(examples, len(classes)), {"model's answer": said})
            cells.update(text=boxes["text"], hoverlabel=boxes["hoverlabel"])
            figure.layout.annotations[-1].text = f"samples: {ANSWERED}"
    return figure


def _samples(
    examples: Sequence[Example], labels: Tensor | None, n_classes: int
) -> tuple[list[int], list[tuple[int, int]] | None]:
    """Indices of the samples and, for images with classes, the row and the column (the class) of each.

    A class with fewer examples than rows has fewer samples.
    """
    if labels is None:
        return list(range(min(len(examples), _SAMPLES * _COLUMNS if are_images(examples) else 2 * _LINES))), None
    firsts = [(labels == column).nonzero().flatten()[:_SAMPLES].tolist() for column in range(n_classes)]
    places = [(row, column) for column, indices in enumerate(firsts) for row in range(len(indices))]
    if are_images(examples):
        return [index for indices in firsts for index in indices], places
    turns = sorted(places)  # the first of each class, the second of each, ...
    return [firsts[column][row] for row, column in turns][:_LINES], None


def _shape(examples: Sequence[Example], n_classes: int) -> tuple[int, int]:
    """The numbers of rows and columns of samples."""
    return (_SAMPLES, n_classes or _COLUMNS) if are_images(examples) else (_LINES, 1 if n_classes else 2)


def _empty_figure(examples: Sequence[Example], labels: Tensor | None, classes: Sequence[str]) -> go.Figure:
    word, images = class_word(classes), are_images(examples)
    titles = ["", "confusion matrix", f"samples, and {'below' if images else 'in front of'} each the predicted {word}"]
    if labels is None:
        where = "below it" if images else "in front"
        titles = ["", f"samples: {'' if images else 'each with its right answer; '}{where}, whether it is answered correctly"]
    both = {"column_widths": [0.45, 0.55], "horizontal_spacing": 0.12}
    figure = make_subplots(
        rows=2,
        cols=2,
        specs=[[{"colspan": 2}, None], [{"colspan": 2}, None] if labels is None else [{}, {}]],
        row_heights=[0.1, 0.9],
        vertical_spacing=0.22,
        subplot_titles=titles,
        **both,
    )
    figure.add_traces(_accuracy_bar(), rows=1, cols=1)
    figure.update_xaxes(
        title={"text": "accuracy, % (grey mark: with all adapters open)", "standoff": 4}, range=[0, 100], row=1, col=1
    )
    figure.update_yaxes(showticklabels=False, row=1, col=1)
    if labels is not None:
        figure.add_traces(confusion_traces(labels, classes, kind_of(examples)), rows=2, cols=1)
        category = {"type": "category", "dtick": 1, "showgrid": False}
        figure.update_xaxes(title=f"predicted {word}", **category, row=2, col=1)
        figure.update_yaxes(title=f"true {word}", autorange="reversed", **category, row=2, col=1)
    _add_samples(figure, 1 if labels is None else 2, examples, labels, classes)
    return dress(figure, height=490).update_layout(showlegend=False, margin={"t": 10, "b": 50})


def _accuracy_bar() -> list[go.Bar | go.Scatter]:
    """The accuracy bar for the present gates, and the mark for all gates open."""
    bar = go.Bar(
        name="these gates",
        x=[],
        y=[""],
        orientation="h",
        textposition="inside",
        insidetextanchor="start",
        textangle=0,
        constraintext="none",
        textfont={"color": "white"},
        hovertemplate="%{x:.1f}%<extra></extra>",
    )
    tick = {"symbol": "line-ns", "size": 30, "color": GUESS_COLOR, "line": {"width": 3, "color": GUESS_COLOR}}
    return [bar, go.Scatter(name="all open", x=[], y=[""], mode="markers", marker=tick, hovertemplate="all open: %{x:.1f}%")]


def _add_samples(
    figure: go.Figure, column: int, examples: Sequence[Example], labels: Tensor | None, classes: Sequence[str]
) -> None:
    """Add the samples, still without marks, to the second row."""
    samples, places = _samples(examples, labels, len(classes))
    words = words_of(examples, samples, [""] * len(samples))
    panel = exhibit(examples, samples, words, _shape(examples, len(classes)), places)
    figure.add_traces([panel.sheet.update(name="samples"), panel.words.update(name="read")], rows=2, cols=column)
    figure.update_yaxes(**panel.y, row=2, col=column)
    if places is None:
        figure.update_xaxes(**panel.x | {"visible": False, "constrain": "domain"}, row=2, col=column)
    else:
        ticks = {"tickvals": panel.middles, "ticktext": list(classes), "showgrid": False, "zeroline": False}
        figure.update_xaxes(title=f"true {class_word(classes)}", **panel.x | ticks, row=2, col=column)
    if are_images(examples):
        x = next(figure.select_xaxes(row=2, col=column))
        figure.update_yaxes(scaleanchor=x.plotly_name.replace("axis", ""), row=2, col=column)
