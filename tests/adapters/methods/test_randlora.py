from __future__ import annotations

import peft
import pytest
import torch
from formulas import adapter_of, assert_a_dropped_block_is_pretrained, base, check_formula
from torch import Tensor

from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.randlora import RandLoRA


def test_its_settings_reach_peft() -> None:
    expected = peft.RandLoraConfig(r=3, randlora_alpha=6.5, randlora_dropout=0.1, target_modules=["a", "b"])
    assert RandLoRA().peft_config(r=3, alpha=6.5, dropout=0.1, targets=["a", "b"]) == expected


def test_it_recognises_its_configuration() -> None:
    assert RandLoRA().recognises(json_values(peft.RandLoraConfig().to_dict()))
    assert not RandLoRA().recognises(json_values(peft.LoraConfig().to_dict())) and not RandLoRA().recognises({})


@pytest.mark.parametrize("r", [4, 3])
def test_update_is_the_formula_also_where_shapes_differ(r: int) -> None:
    """s·Σᵢ Bᵢ diag(λᵢ) A diag(γᵢ), with n bases so that n·r is at least the smaller side.

    PEFT draws the matrices for the largest layer, and cuts them for a smaller one. A lies along the smaller side of the
    weight. PEFT lists the r columns of the n bases Bᵢ one by one, so column j of Bᵢ is number j·n + i of all.
    """
    n = -(-16 // r)

    def formula(t: dict[str, Tensor], weight: Tensor) -> Tensor:
        a, gamma = t["randlora_A"][:, 0, :16], t["randlora_gamma"]
        assert gamma.shape == (n, 16)
        b = t["randlora_B"][: max(weight.shape), :n].flatten(1).unflatten(1, (r, n))
        scaled = sum(
            b[:, :, i] @ torch.diag(t["randlora_lambda"][:, i]) @ a @ torch.diag(gamma[i]) for i in range(n)
        )  # [larger side, smaller side]
        return 6.0 / r * (scaled if weight.shape[1] <= weight.shape[0] else scaled.T)

    check_formula("randlora", formula, r=r)


def test_a_low_rank_of_the_bases_gives_a_full_rank_of_the_update() -> None:
    for change in adapter_of("randlora").update(base()).values():
        assert torch.linalg.matrix_rank(change) > 12


def test_the_random_matrices_are_those_of_every_seed() -> None:
    one, other = (adapter_of("randlora", seed) for seed in (0, 1))
    for key, tensor in one.tensors.items():
        assert torch.equal(tensor, other.tensors[key]) == key.endswith(("randlora_A", "randlora_B"))


def test_a_dropped_block_is_the_pretrained_one() -> None:
    assert_a_dropped_block_is_pretrained("randlora")
