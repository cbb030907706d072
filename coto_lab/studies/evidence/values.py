"""The raw values of a topic, as measured on one task, and their means over the tasks of a leg."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

Values = dict[str, Any]  # nested: the leaves are tensors, and of a leg with one task also what only a figure needs


def averaged(parts: Sequence[Any]) -> Any:
    """The values of a leg: the mean over its tasks, leaf by leaf. With one task these are the values of this task.

    A leaf has the same shape for all tasks, such as one value for each seed. So each seed has one mean over the tasks, and the
    differences and intervals of a leg are over seeds, as those of a single task.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Tensor):
        return torch.stack([part.double() for part in parts]).mean(0)
    return {name: averaged([part[name] for part in parts]) for name in first}
