"""Texts as lines: short enough for the narrowest figure, whole in the box under the pointer."""

from __future__ import annotations

import pytest

from coto_lab.figures.lines import ONE_WIDTH, cells_of, cut, line_of, whole
from coto_lab.figures.theme import set_text_size
from coto_lab.tasks import Example

LONG = Example("because it is so, and was so", text="Which of these\n\nlines is the longest one of all? " * 8)


@pytest.mark.parametrize(
    ("text", "room", "expected"),
    [
        ("abc", 3, "abc"), ("abcd", 3, "ab…"), ("ab cd", 4, "ab…"), ("a\nb", 3, "a b"), ("", 3, ""),
        ("文字文", 5, "文字…"), ("文字文", 6, "文字文"),
    ],
)  # fmt: skip
def test_a_text_is_cut_to_the_room_in_letters(text: str, room: int, expected: str) -> None:
    assert cut(text, room) == expected


def test_a_line_has_a_mark_the_text_and_the_answer_and_fits() -> None:
    assert line_of("✓", Example("3", text="1+2=")) == "✓  1+2= → 3"
    assert line_of("a→b", Example("a", text="x"), answer=False) == "a→b  x"
    assert line_of("", Example("3", text="1+2=")) == "1+2= → 3"
    line = line_of("✗→✓", LONG)
    assert line.startswith("✗→✓  Which of") and line.count("…") == 2 and len(line) <= 38
    set_text_size("large")
    try:
        assert len(line_of("✗→✓", LONG)) <= 38 * 12 / 17
    finally:
        set_text_size("normal")


def test_markup_in_a_text_is_shown_and_not_obeyed() -> None:
    tagged = Example("<i>", text="<b>bold</b> & co")
    assert line_of("✓", tagged) == "✓  &lt;b&gt;bold&lt;/b&gt; &amp; co → &lt;i&gt;"
    assert whole(tagged) == "&lt;b&gt;bold&lt;/b&gt; &amp; co<br>right answer: &lt;i&gt;"


def test_the_box_under_the_pointer_has_all_of_it() -> None:
    words = whole(LONG).replace("<br>", " ").split()
    assert words == [*LONG.text.split(), "right", "answer:", *LONG.answer.split()]
    assert max(map(len, whole(LONG).split("<br>"))) <= 80


def test_every_example_has_a_cell_and_an_empty_cell_has_no_box() -> None:
    cells = cells_of([Example(str(i), text=f"text {i}") for i in range(3)], (2, 2))
    assert cells["z"] == [[0, 0], [0, None]] and not cells["hoverongaps"]
    assert cells["text"][1][0].startswith("text 2<br>")
    assert (cells["x"], cells["y"]) == ([0.5, 1.5], [0.5, 1.5])


def test_answers_stand_below_each_other_in_the_box_under_the_pointer() -> None:
    answers = {"first run's answer": "dc<a;", "answer here": ""}
    assert whole(Example("dcba;", text=":abcd="), answers).split("<br>") == [
        ":abcd=",
        "first run's answer: dc&lt;a;",
        "answer here:        ",
        "right answer:       dcba;",
    ]
    long = whole(Example("right", text="short"), {"model's answer": "word " * 40}).split("<br>")
    assert max(map(len, long)) <= 80 and " ".join(long).split().count("word") == 40
    cells = cells_of([Example("b", text="text a"), Example("d", text="text c")], (1, 2), {"model's answer": ["x", "y"]})
    assert cells["text"][0][1] == "text c<br>model's answer: y<br>right answer:   d"
    assert cells["hoverlabel"] == {"align": "left", "font": {"family": ONE_WIDTH}}
