from __future__ import annotations

import pytest
import torch

from coto_lab.figures.tiles import PAPER, TILES, tile_strip


def test_images_stand_row_after_row_on_paper() -> None:
    images = torch.rand(5, 1, 16, 16)
    sheet, middles, words = tile_strip(images, (2, 3))
    assert sheet.shape == (51, 53) and len(middles) == 3 and len(words) == 2
    for i, image in enumerate(images[:, 0]):
        left, top = round(middles[i % 3] - 7.5), (0, 26)[i // 3]
        assert torch.equal(sheet[top : top + 16, left : left + 16], image)
        assert top + 16 < words[i // 3] < top + 26, "between this row and the next"
    assert (sheet < -1).sum() == sheet.numel() - 5 * 256, "gaps are no paper"


def test_gaps_are_transparent_and_paper_and_ink_are_not() -> None:
    gap = tile_strip(torch.empty(0, 1, 2, 2), (1, 1))[0].min().item()
    low, high = TILES["zmin"], TILES["zmax"]
    assert gap == pytest.approx(low) and high == 1

    def colour(value: float) -> str:  # the last one that begins at or below the value
        return [colour for place, colour in TILES["colorscale"] if place <= (value - low) / (high - low) + 1e-9][-1]

    assert (colour(gap), colour(-1.0), colour(1.0)) == ("rgba(0, 0, 0, 0)", PAPER, "#111111")


def test_the_sheet_is_as_large_with_few_images_as_with_many() -> None:
    none, *ticks = tile_strip(torch.empty(0, 1, 8, 8), (2, 10))
    some, *same = tile_strip(torch.rand(3, 1, 8, 8), (2, 10))
    assert none.shape == some.shape and ticks == same and (none < -1).all()


def test_images_go_where_they_are_told() -> None:
    images = torch.rand(2, 1, 4, 6)
    sheet, middles, _ = tile_strip(images, (2, 2), [(1, 0), (0, 1)])
    left = round(middles[1] - 2.5)
    assert torch.equal(sheet[:4, left : left + 6], images[1, 0])
    assert torch.equal(sheet[6:10, :6], images[0, 0])


def test_more_images_than_places_are_refused() -> None:
    with pytest.raises(ValueError, match="images: there are 3, and 2 places"):
        tile_strip(torch.rand(3, 1, 4, 4), (1, 2))
    with pytest.raises(ValueError, match="images: there are 1, and 0 places"):
        tile_strip(torch.rand(1, 1, 4, 4), (1, 2), [])
