from __future__ import annotations

import torch

from coto_lab.figures import task_examples_figure
from coto_lab.figures.tiles import tile_strip
from coto_lab.tasks import Example


def test_a_row_of_images_for_each_task() -> None:
    images = torch.linspace(-1, 1, 5 * 16).view(5, 1, 4, 4)
    examples = [Example(answer, image=image) for answer, image in zip("abcde", images, strict=True)]
    figure = task_examples_figure({"first": examples[:3], "second": examples[3:]})
    sheet, words = figure.data
    expected, middles, below = tile_strip(images, (2, 3), [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)])
    assert torch.equal(torch.tensor(sheet.z), expected)
    assert list(words.text) == list("abcde")
    assert list(words.x) == [*middles, *middles[:2]] and list(words.y) == [below[0]] * 3 + [below[1]] * 2
    assert list(figure.layout.yaxis.ticktext) == ["first", "second"]
    heights = [[i for i in range(len(expected)) if (expected[i, :4] >= -1).any()][start : start + 4] for start in (0, 4)]
    for place, rows in zip(figure.layout.yaxis.tickvals, heights, strict=True):
        assert rows[0] <= place <= rows[-1], "the name is beside its row"
