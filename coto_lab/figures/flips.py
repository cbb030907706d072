"""The strip below a figure of mixtures: the examples that the chosen mixture and the first run answer differently."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from coto_lab.figures.answers import ANSWERED
from coto_lab.figures.examples import are_images, class_word, exhibit, font_of, words_of
from coto_lab.probes.flips import Flips
from coto_lab.tasks.task import Example

_IMAGES, _LINES = (2, 10), (10, 2)  # rows and columns of the strip
SHOWN = 20
_HERE = "answer here"


def flips_title(flips: Flips | None, examples: Sequence[Example], classes: Sequence[str]) -> str:
    """The title above the strip.

    Args:
        flips: the flips; None before there are any.
        examples: examples of the task.
        classes: names of the classes; empty for tasks without classes.
    """
    if not classes:
        title = "right with the first run alone and wrong here (✓→✗), or the other way round (✗→✓)"
        return title if _said(flips) is None or are_images(examples) else f"{title}<br>{ANSWERED}"
    where = "below" if are_images(examples) else "in front"
    return f"classified differently than by the first run alone ({where}: true {class_word(classes)}: before→now)"


def add_flips(figure: go.Figure, row: int, flips: Flips | None, examples: Sequence[Example], classes: Sequence[str]) -> None:
    """Draw the first flips into the subplot that fills ``row`` of ``figure``, as one trace of a sheet and one of words.

    Args:
        figure: the figure, which is changed in place.
        row: row in `make_subplots`, from 1.
        flips: the flips; None leaves the strip empty.
        examples: all N examples of the split.
        classes: names of the classes; empty for tasks without classes.
    """
    shown = [] if flips is None else flips.indices[:SHOWN].tolist()
    right = [] if flips is None else flips.right_now[:SHOWN].tolist()
    marks = [] if flips is None else _marks(flips, [examples[i].answer for i in shown], classes)
    said = _said(flips)
    now = None if said is None else said[_HERE]
    words = words_of(examples, shown, marks, answer=not classes, said=now)
    strip = exhibit(examples, shown, words, _IMAGES if are_images(examples) else _LINES, said=said)
    strip.sheet.update(name="flips")
    strip.words.update(name="what was read", textfont=font_of(right, now), showlegend=False)
    figure.add_traces([strip.sheet, strip.words], rows=row, cols=1)
    x = next(figure.select_xaxes(row=row))
    figure.update_xaxes(**strip.x | {"visible": False, "constrain": "domain"}, row=row)
    figure.update_yaxes(**strip.y, row=row)
    if are_images(examples):
        top = {"range": [strip.y["range"][0], -2.5]}  # row 0 is on top, a little below the title
        figure.update_yaxes(**top, scaleanchor=x.plotly_name.replace("axis", ""), row=row)


def _said(flips: Flips | None) -> dict[str, tuple[str, ...]] | None:
    """Who answers -> the answers to the examples that are shown; None where they are unknown."""
    if flips is None or flips.said_before is None or flips.said_now is None:
        return None
    return {"first run's answer": flips.said_before[:SHOWN], _HERE: flips.said_now[:SHOWN]}


def _marks(flips: Flips, answers: Sequence[str], classes: Sequence[str]) -> list[str]:
    if flips.before is None or flips.now is None:
        return ["✗→✓" if ok else "✓→✗" for ok in flips.right_now[:SHOWN].tolist()]
    pairs = zip(answers, flips.before.tolist(), flips.now.tolist(), strict=False)
    return [f"{answer}: {classes[before]}→{classes[now]}" for answer, before, now in pairs]
