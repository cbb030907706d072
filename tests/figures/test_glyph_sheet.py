from __future__ import annotations

import numpy as np
import pytest
import torch

from coto_lab.figures.glyph_sheet import glyph_sheet_figure


def rows(each: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.rand(3, each, 1, 16, 16, generator=generator) * 2 - 1 for name in ("base", "sum, LoRA")}


def test_each_image_is_in_the_row_of_its_model_and_in_the_column_of_its_character() -> None:
    images = rows()
    figure = glyph_sheet_figure(images, "2KX")
    (sheet,) = figure.data
    top, left = round(1 * 16 * 1.6), round(5 * 16 * 1.1)  # of the last image: second row, second image of the third character
    assert np.array_equal(sheet.z[top : top + 16, left : left + 16], images["sum, LoRA"][2, 1, 0].numpy())
    assert list(figure.layout.xaxis.ticktext) == ["2", "K", "X"]
    assert list(figure.layout.yaxis.ticktext) == ["base", "sum, LoRA"]
    assert top < figure.layout.yaxis.tickvals[1] < top + 16
    assert left - 18 < figure.layout.xaxis.tickvals[2] < left + 2


def test_sheets_that_do_not_fit_are_refused() -> None:
    for wrong, characters in ((rows(), "2K"), ({}, "2KX"), (rows() | {"zip": rows(1)["base"]}, "2KX")):
        with pytest.raises(ValueError, match="rows have the shapes"):
            glyph_sheet_figure(wrong, characters)
