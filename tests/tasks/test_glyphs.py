from __future__ import annotations

import pytest
import torch

from coto_lab.tasks.glyphs import CLASSES, HELD_OUT_FONTS, TRAIN_FONTS, jitter, render_prints, sample_prints


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("fonts", [TRAIN_FONTS, HELD_OUT_FONTS], ids=["train", "held out"])
def test_every_class_of_every_font_has_a_print_of_its_own(fonts: tuple[str, ...]) -> None:
    prints = render_prints(fonts)
    assert prints.shape == (len(fonts), 36, 64, 64) and prints.dtype == torch.float32
    assert prints.min() == 0 and prints.max() == 1
    assert (prints.flatten(2).sum(2) > 50).all()  # ink
    for font in prints.flatten(2):
        assert len(font.unique(dim=0)) == 36


def test_prints_are_centred_and_whole() -> None:
    # but for the M and W of the widest fonts, whose serifs are cut
    narrow = [j for j, character in enumerate(CLASSES) if character not in "MW"]
    prints = render_prints(TRAIN_FONTS)[:, narrow].flatten(0, 1)
    border = torch.ones(64, 64, dtype=torch.bool)
    border[1:-1, 1:-1] = False
    assert not prints[:, border].any()
    for image in prints:
        rows, columns = image.nonzero().T
        for index in (rows, columns):
            assert abs((index.min() + index.max()).item() / 2 - 31.5) <= 4  # one pixel of the small images


def test_fonts_held_out_are_not_trained_on() -> None:
    assert not set(TRAIN_FONTS) & set(HELD_OUT_FONTS)
    assert len(CLASSES) == len(set(CLASSES)) == 36


def test_samples_are_images_with_labels() -> None:
    images, labels = sample_prints(TRAIN_FONTS, 720, generator())
    assert images.shape == (720, 1, 16, 16) and images.dtype == torch.float32
    assert images.min() >= -1 and images.max() <= 1
    assert labels.dtype == torch.int64 and set(labels.tolist()) == set(range(36))
    assert (images.flatten(1).max(1).values > 0).all()  # ink in every one


def test_samples_depend_on_the_generator_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (sample_prints(HELD_OUT_FONTS, 8, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_a_generator_never_gives_the_same_sample_twice() -> None:
    one = generator()
    assert not torch.equal(sample_prints(TRAIN_FONTS, 8, one)[0], sample_prints(TRAIN_FONTS, 8, one)[0])


def test_jitter_of_strength_0_only_shrinks_the_print() -> None:
    prints = render_prints(HELD_OUT_FONTS)[0]
    expected = torch.nn.functional.avg_pool2d(prints[:, None], 4) * 2 - 1
    torch.testing.assert_close(jitter(prints, generator(), strength=0.0), expected, atol=0.15, rtol=0)
    assert not torch.allclose(jitter(prints, generator(), strength=1.0), expected, atol=0.5)
