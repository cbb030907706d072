"""The two factors of every LoRA module in an optimiser's parameter group, found by their names."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from torch import Tensor

PLAIN = (
    "This optimiser trains plain LoRA on linear layers: LoraConfig(target_modules=[...]) with names of linear layers, without "
    "use_dora."
)
_FACTOR = re.compile(r"(.*)\blora_([AB])\b(.*)")  # the module, A or B, and the rest: PEFT's name of the adapter, "weight"


def names_in(group: dict[str, Any]) -> list[str]:
    """Names of a group's parameters: its entry ``names``, or what torch keeps of named parameters."""
    names: list[str] = group.get("names", group.get("param_names", []))
    return names


def find_pairs(group: dict[str, Any]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The name of the module, A ``[r, in]`` and B ``[out, r]`` of every pair in a group that `check_pairs` has let through."""
    for (module, _), sides in _factors(group).items():
        yield module.rstrip("."), sides["A"], sides["B"]


def check_pairs(group: dict[str, Any]) -> None:
    """Refuse what is not of plain LoRA on linear layers, and factors whose partner is not in their group.

    Parameters without ``lora_`` in their names are let through, and frozen ones, too.

    Raises:
        ValueError: as said, or there are not as many names as parameters.
    """
    names = names_in(group)
    if len(names) != len(group["params"]):
        raise ValueError(
            "the two factors of a module are found by their names: give the optimiser model.named_parameters(), or groups with "
            f"as many names as params. This group has {len(names)} names of {len(group['params'])} parameters."
        )
    for name, parameter in zip(names, group["params"], strict=True):
        if parameter.requires_grad and re.search(r"\blora_(?![AB]\b)", name):
            raise ValueError(f"{name} is a parameter that plain LoRA on linear layers does not have. {PLAIN}")
    for (module, rest), sides in _factors(group).items():
        for side, other in ("AB", "BA"):
            name = f"{module}lora_{side}{rest}"
            if side not in sides:
                raise ValueError(
                    f"{module}lora_{other}{rest} has no partner {name} in its parameter group: both factors of a module are "
                    "trained together, so give both in one group."
                )
            if sides[side].dim() != 2:
                raise ValueError(f"{name} has {sides[side].dim()} dimensions, as a factor of a convolution has. {PLAIN}")


def _factors(group: dict[str, Any]) -> dict[tuple[str, str], dict[str, Tensor]]:
    """The factors "A" and "B" by what their names share."""
    found: dict[tuple[str, str], dict[str, Tensor]] = defaultdict(dict)
    for name, parameter in zip(names_in(group), group["params"], strict=True):
        match = _FACTOR.fullmatch(name)
        if match and not name.endswith("bias"):
            found[match[1], match[3]][match[2]] = parameter
    return found
