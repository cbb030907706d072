"""The ensemble beside dense arithmetic and PEFT; test_merge and test_methods hold more of it."""

from __future__ import annotations

from dataclasses import replace

import peft
import pytest
import torch
from merging_cases import assert_updates, by_peft, dense, lora, made, random_pair, weighted
from torch import nn

from coto_lab import Adapter, merge
from coto_lab.merging.ensemble import Ensemble


@pytest.mark.parametrize("kind", ["cat", "svd"])
def test_it_is_pefts_cat_and_svd(kind: str) -> None:
    adapters, weights = [lora(0, r=2), lora(1, r=3, alpha=9)], [0.3, 0.7]
    options = {"svd_rank": 5} if kind == "svd" else {}
    assert_updates(dense(merge(adapters, "ensemble", weights)), by_peft(adapters, weights, kind, **options))


def test_by_default_each_has_the_same_share() -> None:
    adapters = [lora(seed) for seed in range(3)]
    assert_updates(dense(merge(adapters, "ensemble")), weighted(adapters, [1 / 3] * 3))


def test_double_precision_stays() -> None:
    (a, b), (c, d) = random_pair(0), random_pair(1)
    merged = merge([made(a, b), made(c, d)], "ensemble", [1 / 3, 2 / 3])
    assert {tensor.dtype for tensor in merged.tensors.values()} == {torch.float64}
    torch.testing.assert_close(*dense(merged).values(), b @ a / 3 + 2 * d @ c / 3, rtol=1e-14, atol=1e-14)


def test_entry_by_entry_it_is_the_same() -> None:
    updates, weights = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0.2, 0.5, 0.3])
    expected = (weights[:, None, None] * updates).sum(0)
    torch.testing.assert_close(Ensemble().combine(updates, weights, 0), expected)


def test_layers_of_other_shapes_are_refused() -> None:
    first, second = made(*random_pair(0)), made(*random_pair(1, inputs=8))
    for how in ("ensemble", "ties", "lego", "svd", "core space"):
        with pytest.raises(ValueError, match=r"the update of layer is \[5, 7\] in adapter 0 and \[5, 8\] in adapter 1: their"):
            merge([first, second], how)


def test_convolutions_are_stacked_and_other_rules_refuse_them() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Conv2d(2, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x)

    def adapter(seed: int) -> Adapter:
        torch.manual_seed(0)
        model = peft.get_peft_model(Net(), peft.LoraConfig(r=2, lora_alpha=4, target_modules=["layer"]))  # type: ignore[arg-type]
        for parameter in model.parameters():
            if parameter.requires_grad:
                nn.init.normal_(parameter, generator=torch.Generator().manual_seed(seed))
        return Adapter.from_model(model)

    adapters = [adapter(0), adapter(1)]
    merged = merge(adapters, "ensemble")
    torch.manual_seed(0)
    base, images = Net(), torch.randn(2, 2, 6, 6, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        pristine = base(images)
        changes = []
        for part in (*adapters, merged):
            torch.manual_seed(0)
            changes.append(part.attach(Net())(images) - pristine)  # type: ignore[arg-type]
    torch.testing.assert_close(changes[2], (changes[0] + changes[1]) / 2, rtol=1e-4, atol=1e-5)
    for how in ("ties", "svd", "lego", "lora*", "core space"):
        with pytest.raises(ValueError, match=r"layer is a convolution, and this rule mixes linear layers alone"):
            merge(adapters, how)


def test_what_is_no_product_is_refused_by_its_number() -> None:
    plain = lora()
    dora = replace(plain, config=plain.config | {"use_dora": True})
    with pytest.raises(ValueError, match=r"this rule mixes the updates ΔW: .*use_dora=True"):
        merge([plain, dora], "ensemble")
