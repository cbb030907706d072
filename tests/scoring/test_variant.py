"""A variant is an adapter and its gates, with nothing shut and no name unless somebody says so."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

from coto_lab import Run, Variant


def test_without_a_mask_and_a_name_all_gates_are_open_and_the_name_is_empty(runs: tuple[Run, Run]) -> None:
    variant = Variant(runs[0].adapter)
    assert variant.adapter is runs[0].adapter and variant.mask is None and variant.name == ""


def test_variants_are_frozen_and_compared_by_identity(runs: tuple[Run, Run]) -> None:
    mask = torch.tensor([True, False, True, True])
    variant = Variant(runs[0].adapter, mask, "second shut")
    assert variant == variant and variant != Variant(runs[0].adapter, mask, "second shut")  # a mask has no truth value
    assert len({variant, Variant(runs[0].adapter, mask, "second shut")}) == 2
    with pytest.raises(FrozenInstanceError):
        variant.name = "first"  # type: ignore[misc]
