"""The size of letters that the setup cell chooses."""

from __future__ import annotations

import pytest
import torch

from coto_lab import Linear
from coto_lab.figures import ramp_figure
from coto_lab.notebook import setup


@pytest.mark.usefixtures("capsys")
def test_letters_are_large_when_asked_for_and_normal_otherwise():
    def size():
        return ramp_figure({"CoTo": Linear()}).layout.template.layout.font.size

    setup(size="large")
    large = size()
    setup()
    assert large > size() == 12


def test_an_unknown_size_is_refused_before_anything_is_changed():
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="size='huge': use one of 'normal', 'large'"):
        setup(threads=before + 1, size="huge")
    assert torch.get_num_threads() == before
