from __future__ import annotations

import pytest
import torch

from coto_lab.figures.examples import are_images, class_word, exhibit, font_of, kind_of, words_of
from coto_lab.figures.lines import ONE_WIDTH
from coto_lab.figures.theme import INK
from coto_lab.figures.tiles import WRONG
from coto_lab.tasks import Example

IMAGE, TEXT = Example("a", image=torch.rand(1, 4, 6)), Example("b", text="what is it?")


def test_a_task_of_images_has_an_image_for_every_example() -> None:
    assert are_images([IMAGE, IMAGE]) and kind_of([IMAGE]) == "image"
    for examples in ([TEXT], [IMAGE, TEXT]):
        assert not are_images(examples) and kind_of(examples) == "example"
    assert words_of([IMAGE, TEXT], [1, 0], ["✓", "✗"]) == ["✓  what is it? → b", "✗   → a"]
    assert words_of([IMAGE], [0], ["✓"]) == ["✓"]


@pytest.mark.parametrize(
    ("classes", "word"), [("0123456789", "digit"), ("07", "digit"), ("abc", "class"), ((), "class"), (("10",), "class")]
)
def test_only_digits_are_called_digits(classes: tuple[str, ...], word: str) -> None:
    assert class_word(tuple(classes)) == word


def test_a_sheet_is_as_large_with_few_as_with_many() -> None:
    for examples in ([IMAGE] * 4, [TEXT] * 4):
        none, all_of_them = (exhibit(examples, shown, [""] * len(shown), (2, 3)) for shown in ([], range(4)))
        assert none.x == all_of_them.x and none.y == all_of_them.y
        assert len(none.words.x) == 0 and len(all_of_them.words.x) == 4


def test_large_images_are_made_smaller() -> None:
    """A browser would get 20 photographs as a million numbers at every move of a slider."""
    photograph = torch.full((1, 300, 200), 0.5)
    sheet = exhibit([Example("a", image=photograph)], [0], ["✓"], (1, 1)).sheet
    assert sheet.z[:48, :32].min() == sheet.z[:48, :32].max() == pytest.approx(0.5)
    assert sheet.z.size < 80 * 40


def test_where_the_models_answers_are_known_texts_show_them() -> None:
    other = Example("d", text="and this?")
    assert words_of([TEXT, other], [1, 0], "✓✓", said=["d", "b"]) == ["✓  and this?   → d", "✓  what is it? → b"]
    assert words_of([IMAGE], [0], "✓", said=["a"]) == ["✓"], "below an image there is no room"
    sheet = exhibit([TEXT, other], [1], ["✓"], (1, 1), said={"model's answer": ["e"]}).sheet
    assert sheet.text[0][0] == "and this?<br>model's answer: e<br>right answer:   d"


def test_lines_that_mark_what_is_wrong_have_one_colour_and_letters_of_one_width() -> None:
    assert font_of([True, False]) == {"color": [INK, WRONG], "family": None}
    assert font_of([True, False], ["a", "b"]) == {"color": INK, "family": ONE_WIDTH}
