"""The strip of flips of texts; that of images is tested with the interpolation explorer's figure."""

from __future__ import annotations

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots

from coto_lab.figures.flips import add_flips, flips_title
from coto_lab.figures.lines import ONE_WIDTH
from coto_lab.figures.theme import INK
from coto_lab.probes.flips import Flips
from coto_lab.tasks import Example

TEXTS = [Example("ab"[i % 2], text=f"text {i}") for i in range(50)]
RIGHT = torch.arange(30) % 2 == 0


def strip(flips: Flips | None, classes: tuple[str, ...]) -> tuple[go.Heatmap, go.Scatter]:
    figure = make_subplots(rows=2, cols=1)
    add_flips(figure, 2, flips, TEXTS, classes)
    assert figure.layout.yaxis2.scaleanchor is None, "lines fill the width"
    return figure.data


def test_without_classes_a_line_tells_what_was_right_and_what_is() -> None:
    cells, words = strip(Flips(torch.arange(20, 50), RIGHT, ~RIGHT), ())
    assert list(words.text[:2]) == ["✓→✗  text 20 → a", "✗→✓  text 21 → b"] and len(words.text) == 20
    assert list(words.textfont.color[:2]) == ["#D55E00", INK]
    assert cells.text[0][1] == "text 21<br>right answer: b" and cells.hovertemplate == "%{text}<extra></extra>"
    assert "(✓→✗)" in flips_title(None, TEXTS, ())


def test_with_classes_it_tells_them() -> None:
    flips = Flips(torch.tensor([4, 7]), *torch.tensor([[True, False], [False, True]]), *torch.tensor([[0, 0], [1, 1]]))
    _, words = strip(flips, ("a", "b"))
    assert list(words.text) == ["a: a→b  text 4", "b: a→b  text 7"]
    assert flips_title(flips, TEXTS, ("a", "b")).endswith("(in front: true class: before→now)")


def test_titles_name_digits_only_where_there_are_digits() -> None:
    image = [Example("1", image=torch.zeros(1, 2, 2))]
    assert flips_title(None, image, tuple("0123456789")) == (
        "classified differently than by the first run alone (below: true digit: before→now)"
    )
    assert "true class" in flips_title(None, image, ("cat", "dog"))


def test_before_there_are_runs_the_strip_is_empty() -> None:
    cells, words = strip(None, ())
    assert len(words.text) == 0 and all(value is None for row in cells.z for value in row)


def test_where_the_answers_are_known_a_line_has_the_one_here_and_the_box_both() -> None:
    flips = Flips(torch.arange(20, 50), RIGHT, ~RIGHT, said_before=tuple("ab" * 15), said_now=tuple("xb" * 15))
    cells, words = strip(flips, ())
    assert len(words.text) == 20 and words.text[1] == "✗→✓  text 21 → b"
    assert words.text[0].endswith("(a)</span>") and "<u>x</u>" in words.text[0]
    assert (words.textfont.color, words.textfont.family) == (INK, ONE_WIDTH)
    assert cells.text[0][0] == "text 20<br>first run's answer: a<br>answer here:        x<br>right answer:       a"
    title = flips_title(flips, TEXTS, ())
    assert title.endswith("(✗→✓)<br>text → answer (right answer), wrong characters underlined")
    assert "<br>" not in flips_title(None, TEXTS, ()), "before there are runs"
    assert "<br>" not in flips_title(flips, [Example("a", image=torch.zeros(1, 2, 2))], ())
