"""Masks over gates, and what names, indices and masks say which of them."""

import numpy as np
import pytest
import tiny_models as tiny
import torch

from coto_lab import attach_gates

MIDDLE_OFF = torch.tensor([True, False, True])


@pytest.mark.parametrize(
    ("which", "indices"),
    [
        (0, [0]),
        (-1, [2]),
        (-3, [0]),
        (np.int64(1), [1]),
        (torch.tensor(2), [2]),
        ("model.layers.1", [1]),
        ([0, 2], [0, 2]),
        (range(2), [0, 1]),
        (np.array([2, 1]), [1, 2]),
        (torch.tensor([0, 1]), [0, 1]),
        ([torch.tensor(0)], [0]),
        (("model.layers.0", "model.layers.2"), [0, 2]),
        (torch.tensor([False, True, True]), [1, 2]),
        ([], []),
    ],
    ids=str,
)
def test_which_is_an_index_a_name_a_mask_or_several(which, indices):
    gates = attach_gates(tiny.adapted())
    gates.close(which)
    assert (~gates.mask).nonzero().flatten().tolist() == indices
    gates.open(which)
    assert gates.mask.all()
    with gates.only(which):
        assert gates.mask.nonzero().flatten().tolist() == indices


@pytest.mark.parametrize(
    ("which", "named"),
    [
        (3, "3 is no gate"),
        (-4, "-4 is no gate"),
        (1.0, r"1\.0 is no gate"),
        (True, "True is no gate"),
        ([None], "None is no gate"),
        ("model.layers.7", r"'model\.layers\.7' is no gate.*'model\.layers\.0'"),
        ([0, "nowhere"], "'nowhere' is no gate"),
        ([True, False, True], "True is no gate"),
        (torch.ones(3), r"1\.0 is no gate"),
        (torch.tensor([True, False]), r"BoolTensor \[3\].*torch\.bool \[2\]"),
    ],
    ids=str,
)
def test_a_bad_which_raises_value_error_naming_it_and_changes_nothing(which, named):
    gates = attach_gates(tiny.adapted())
    gates.close(1)
    for verb in (gates.close, gates.open):
        with pytest.raises(ValueError, match=named):
            verb(which)
    with pytest.raises(ValueError, match=named), gates.only(which):
        pass
    assert gates.mask.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("mask", "found"),
    [
        ([True, True, False], "got list"),
        (torch.ones(3), r"got torch\.float32 \[3\]"),
        (torch.ones(2, dtype=torch.bool), r"got torch\.bool \[2\]"),
        (torch.ones(1, 3, dtype=torch.bool), r"got torch\.bool \[1, 3\]"),
    ],
    ids=["list", "float", "short", "2-d"],
)
def test_a_bad_training_mask_raises_value_error_naming_it_and_changes_nothing(mask, found):
    gates = attach_gates(tiny.adapted().train())
    gates.train_with(MIDDLE_OFF)
    with pytest.raises(ValueError, match=rf"BoolTensor \[3\].*{found}"):
        gates.train_with(mask)
    assert gates.mask.tolist() == [True, False, True]
