from __future__ import annotations

import pytest

from coto_lab.figures import STYLES, task_bars_figure

ACCURACY = {"one": 80.0, "two": 30.0}
FRAME = {"base model": {"one": 20.0, "two": 10.0}, "own adapter": {"one": 90.0, "two": 80.0}, "joint": {}}


def test_a_bar_for_each_task_and_for_the_mean() -> None:
    figure = task_bars_figure(ACCURACY, FRAME, "CoTo", "72 images", {"two": 50.0})
    bar, base, own, joint, numbers, guess = figure.data
    assert (list(bar.x), list(bar.y)) == (["one", "two", "mean"], [80, 30, 55])
    assert (list(numbers.x), list(numbers.text)) == (list(bar.x), ["80", "30", "55"])
    assert set(numbers.y) == {0} and numbers.textposition == "bottom center", "no mark is there"
    assert bar.marker.color == STYLES["CoTo"]["color"]
    assert [list(marks.y) for marks in (base, own, joint)] == [[20, 10, 15], [90, 80, 85], []]
    assert len({(marks.marker.symbol, marks.marker.color) for marks in (base, own, joint)}) == 3
    assert (list(guess.x), list(guess.y)) == (["two"], [50])
    assert figure.layout.yaxis.title.text == "accuracy on 72 images, %"


def test_it_is_updated_in_place() -> None:
    figure = task_bars_figure({}, FRAME)
    assert list(figure.data[0].y) == []
    again = task_bars_figure(ACCURACY, FRAME | {"joint": ACCURACY}, "LoRA", figure=figure)
    assert again is figure
    assert list(figure.data[0].y) == [80, 30, 55] and list(figure.data[3].y) == [80, 30, 55]
    assert figure.data[0].marker.color == STYLES["LoRA"]["color"] and list(figure.data[4].text) == ["80", "30", "55"]
    task_bars_figure({"one": 1.0, "two": 2.0}, FRAME, "LoRA", figure=figure)
    assert list(figure.data[0].y) == pytest.approx([1, 2, 1.5])
