"""The parameter groups that a method's optimiser is given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from coto_lab.training.recipe import Recipe


def parameter_groups(recipes: Sequence[Recipe], parameters: Sequence[Mapping[str, nn.Parameter]]) -> list[dict[str, Any]]:
    """One group for each recipe, as `Method.optimizer` describes them; ``parameters`` go by PEFT's names."""
    return [
        {
            "params": list(own.values()),
            "names": list(own),
            "lr": recipe.lr,
            "weight_decay": recipe.weight_decay,
            "row": row,
            "scaling": recipe.adapter_method.scaling(recipe.r, recipe.alpha),
        }
        for row, (recipe, own) in enumerate(zip(recipes, parameters, strict=True))
    ]
