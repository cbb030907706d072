"""Pairs of LoRA factors are found in models of PEFT and of the lab, and what is no such pair is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import peft
import pytest
import torch
from tiny_models import TARGETS, adapted, bert, vit
from torch import nn

from coto_lab import LoRALinear
from coto_lab.adapters.lora_pairs import check_pairs, find_pairs

Named = dict[str, nn.Parameter]


def group_of(named: Any) -> dict[str, Any]:
    """A parameter group as the trainings make it."""
    named = dict(named)
    return {"params": list(named.values()), "names": list(named)}


def pairs(n: int = 1) -> Named:
    shapes = {"A": (2, 5), "B": (4, 2)}
    return {f"layers.{i}.q.lora_{f}.weight": nn.Parameter(torch.zeros(shapes[f])) for i in range(n) for f in "AB"}


def test_both_factors_of_every_module_are_found() -> None:
    named = pairs(2) | {"head.weight": nn.Parameter(torch.zeros(3, 3))}
    group, (first, *_, last) = group_of(named), named.values()
    (one, a, _), (two, _, _) = find_pairs(group)
    assert (one, two) == ("layers.0.q", "layers.1.q") and a is first and all(last is not b for _, _, b in find_pairs(group))
    check_pairs(group)


def test_names_as_torch_keeps_them_serve_too() -> None:
    optimizer = torch.optim.SGD(pairs(2).items())
    check_pairs(optimizer.param_groups[0])
    assert [name for name, _, _ in find_pairs(optimizer.param_groups[0])] == ["layers.0.q", "layers.1.q"]


def test_all_adapters_of_a_model_of_peft_are_found_with_their_ranks() -> None:
    model = peft.get_peft_model(vit(), peft.LoraConfig(r=2, target_modules=TARGETS, bias="lora_only"))
    model.add_adapter("second", peft.LoraConfig(r=3, target_modules=[*TARGETS, "k_proj"]))
    group = group_of(model.named_parameters())
    check_pairs(group)
    found = list(find_pairs(group))
    assert sorted(len(a) for _, a, _ in found) == [2] * 6 + [3] * 9
    for name, a, b in found:
        layer = model.get_submodule(name)
        adapter = "default" if len(a) == 2 else "second"
        assert a is layer.lora_A[adapter].weight and b is layer.lora_B[adapter].weight


def test_a_bias_of_b_is_no_factor() -> None:
    model = peft.get_peft_model(vit(), peft.LoraConfig(r=2, target_modules=TARGETS, lora_bias=True))
    group = group_of(model.named_parameters())
    check_pairs(group)
    assert sum("lora_B.default.bias" in name for name in group["names"]) == len(list(find_pairs(group))) == 6


def test_layers_of_the_lab_are_found() -> None:
    layer = LoRALinear(nn.Linear(5, 4), 2, 4.0)
    for model, name in ((layer, ""), (nn.Sequential(layer), "0")):
        ((found, a, b),) = find_pairs(group_of(model.named_parameters()))
        assert found == name and a is layer.lora_A and b is layer.lora_B


def test_frozen_parameters_of_other_kinds_are_let_through() -> None:
    model = adapted("DoRA", vit()).requires_grad_(False)
    check_pairs(group_of(model.named_parameters()))


def convolution() -> nn.Module:
    return peft.get_peft_model(nn.Sequential(nn.Conv2d(2, 3, 3)), peft.LoraConfig(r=2, target_modules=["0"]))


def embedding() -> nn.Module:
    return peft.get_peft_model(bert(), peft.LoraConfig(r=2, target_modules=["word_embeddings", "query"]))


PLAIN = (
    r" This optimiser trains plain LoRA on linear layers: LoraConfig\(target_modules=.*\) with names of linear layers, without"
)
REFUSED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "no names": (
        lambda: {"params": list(pairs().values())},
        r"give .* model\.named_parameters\(\), or .* 0 names of 2 parameters",
    ),
    "few names": (lambda: group_of(pairs()) | {"names": ["x.lora_A"]}, r"as many names as params\. .* 1 names of 2 parameters"),
    "magnitudes": (
        lambda: group_of(adapted("DoRA", vit()).named_parameters()),
        rf"^base_model\.\S*q_proj\.lora_magnitude_vector\S* is a parameter that plain LoRA .* does not have\.{PLAIN}",
    ),
    "embedding": (
        lambda: group_of(embedding().named_parameters()),
        rf"^base_model\.\S*word_embeddings\.lora_embedding_A\S* is a parameter that plain LoRA .* does not have\.{PLAIN}",
    ),
    "convolution": (
        lambda: group_of(convolution().named_parameters()),
        rf"^base_model\.model\.0\.lora_A\.default\.weight has 4 dimensions, as a factor of a convolution has\.{PLAIN}",
    ),
    "no B": (
        lambda: group_of(list(pairs(2).items())[:3]),
        r"^layers\.1\.q\.lora_A\.weight has no partner layers\.1\.q\.lora_B\.weight in its parameter group: .* in one group",
    ),
    "no A": (
        lambda: group_of(list(pairs(2).items())[1:]),
        r"^layers\.0\.q\.lora_B\.weight has no partner layers\.0\.q\.lora_A\.weight in its parameter group: .* in one group",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_pair_is_refused(case: str) -> None:
    made, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        check_pairs(made())
