from __future__ import annotations

import torch
from torch import nn

from coto_lab import Recipe
from coto_lab.training.groups import parameter_groups


def test_each_recipe_has_a_group_with_all_that_an_optimizer_may_ask_for() -> None:
    recipes = [Recipe(lr=0.1, weight_decay=0.3, r=4, alpha=6.0), Recipe(method="rslora", lr=0.2, r=4, alpha=6.0), Recipe("ia3")]
    own = [{f"m.lora_{f}.weight": nn.Parameter(torch.zeros(2, 2)) for f in "AB"} for _ in recipes]
    groups = parameter_groups(recipes, own)
    assert [group["row"] for group in groups] == [0, 1, 2]
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.1, 0.3), (0.2, 0.0), (0.01, 0.0)]
    assert [group["scaling"] for group in groups] == [1.5, 3.0, 1.0]  # alpha / r, alpha / √r, and a method without one
    for group, parameters in zip(groups, own, strict=True):
        assert group["names"] == ["m.lora_A.weight", "m.lora_B.weight"]
        assert all(a is b for a, b in zip(group["params"], parameters.values(), strict=True))
