from __future__ import annotations

import peft
import pytest
import torch
from formulas import assert_a_dropped_block_is_pretrained, base, check_formula
from torch import Tensor, nn

from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.oft import OFT


def test_its_settings_reach_peft() -> None:
    expected = peft.OFTConfig(r=0, oft_block_size=16, target_modules=["a", "b"])
    assert OFT().peft_config(r=3, alpha=6.5, dropout=0.0, targets=["a", "b"]) == expected


def test_it_recognises_its_configuration() -> None:
    assert OFT().recognises(json_values(peft.OFTConfig(r=4, oft_block_size=0).to_dict()))
    assert not OFT().recognises(json_values(peft.LoraConfig().to_dict())) and not OFT().recognises({})


def small(model: nn.Module) -> None:
    """Angles so small that PEFT's series is the Cayley transform."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1e-2)


def skew(entries: Tensor, size: int) -> Tensor:
    """Skew-symmetric blocks ``[blocks, size, size]`` with these entries above the diagonal."""
    q = entries.new_zeros(len(entries), size, size)
    rows, columns = torch.triu_indices(size, size, 1)
    q[:, rows, columns] = entries
    return q - q.mT


def test_update_is_the_formula() -> None:
    """W R with R = diag(R₁, R₂, ...) and PEFT's series R = 1 + 2Q + 2Q² + 2Q³ + Q⁴ for the Cayley transform."""

    def formula(t: dict[str, Tensor], weight: Tensor) -> Tensor:
        q, one = -skew(t["oft_R.weight"], 8), torch.eye(8, dtype=torch.float64)
        r = torch.block_diag(*(one + 2 * q + 2 * q @ q + 2 * q @ q @ q + q @ q @ q @ q))
        return weight @ r - weight

    check_formula(OFT(8), formula)


def test_it_turns_the_rows_of_the_weight_within_each_block() -> None:
    def formula(t: dict[str, Tensor], weight: Tensor) -> Tensor:
        q, one = -skew(t["oft_R.weight"], 8), torch.eye(8, dtype=torch.float64)
        r = torch.linalg.solve(one - q, one + q)  # the Cayley transform itself
        torch.testing.assert_close(r @ r.mT, one.expand_as(r))
        return weight @ torch.block_diag(*r) - weight

    adapter = check_formula(OFT(8), formula, small)
    for name, change in adapter.update(base()).items():
        weight = base().get_submodule(name).weight.detach()
        for before, after in zip(weight.split(8, dim=1), (weight + change).split(8, dim=1), strict=True):
            assert (after - before).abs().max() > 1e-5
            torch.testing.assert_close(after @ after.T, before @ before.T)  # lengths and angles


@pytest.mark.parametrize(
    ("layer", "size", "said"),
    [
        (nn.Linear(24, 16), 8, ""),
        (nn.Linear(24, 16), 16, "blocks of 16 do not divide its 24 inputs; blocks of 2, 3, 4, 6, 8, 12, 24 do"),
        (nn.Linear(1, 16), 8, "blocks of 8 do not divide its 1 inputs; no blocks do"),
        (nn.Linear(4, 16), 8, "blocks of 8 do not divide its 4 inputs; blocks of 2, 4 do"),
        (nn.Conv2d(1, 16, 4), 16, ""),
        (nn.Conv2d(3, 16, 3), 9, ""),
        (nn.Conv2d(3, 16, 3), 4, "blocks of 4 do not divide its 27 inputs; blocks of 3, 9, 27 do"),
        (nn.Embedding(32, 12), 8, "blocks of 8 do not divide its 12 inputs; blocks of 2, 3, 4, 6, 12 do"),
        (nn.LayerNorm(12), 8, ""),
    ],
    ids=str,
)
def test_blocks_that_do_not_divide_the_inputs_do_not_fit(layer: nn.Module, size: int, said: str) -> None:
    """PEFT itself takes blocks of another size then, and of layers that it does not know, PEFT says so."""
    assert OFT(size).misfit(layer, 4) == said


@pytest.mark.parametrize("value", [0, 1, -8, 2.5, "8", None, True])
def test_a_block_that_means_nothing_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"block_size=.*: must be a whole number, at least 2"):
        OFT(value)  # type: ignore[arg-type]


def test_a_dropped_block_is_the_pretrained_one() -> None:
    assert_a_dropped_block_is_pretrained(OFT(8))
