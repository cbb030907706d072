"""The labels of a data set: names of the classes, and the targets of the examples as numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from datasets import Dataset


def class_names(rows: Dataset, column: str) -> tuple[str, ...]:
    """The names of the classes in a column, in the order of their numbers.

    They are what the data set calls them. Without such names, strings name themselves, in the order of the alphabet, and whole
    numbers are their own names.

    Raises:
        ValueError: the column holds something else, or only one class.
    """
    if (names := getattr(rows.features[column], "names", None)) is not None:
        return tuple(names)
    values = set(rows[column])
    if all(isinstance(value, bool) for value in values):
        return ("False", "True")
    if all(isinstance(value, str) for value in values):
        found = tuple(sorted(values))
    elif all(isinstance(value, int) for value in values):
        found = tuple(map(str, range(max(values) + 1)))
    else:
        odd = next(value for value in values if not isinstance(value, (int, str)))
        raise ValueError(
            f"the column {column!r} holds {odd!r}: classes are whole numbers from 0, or strings. For numbers to predict give "
            "regression=True; leave out examples without a label."
        )
    if len(found) < 2:
        raise ValueError(f"the column {column!r} holds the one class {found[0]!r}: there must be at least two to tell apart.")
    return found


def targets_of(rows: Dataset, column: str, classes: Sequence[str] | None, split: str) -> Tensor:
    """The targets of all examples: the numbers of their classes, int64 ``[N]``, or the numbers to predict, float32 ``[N]``.

    Args:
        rows: the data.
        column: with the labels.
        classes: their names; None where numbers are predicted.
        split: what messages call the data.

    Raises:
        ValueError: an example without a label, or with one that is no class, or no finite number.
    """
    values = list(rows[column])
    if classes is None:
        for place, value in enumerate(values):
            if not isinstance(value, Real) or not math.isfinite(value):
                raise ValueError(f"{split}[{place}] has {column}={value!r}: it must be a finite number. {_ADVICE}")
        return torch.tensor(values, dtype=torch.float32)
    number_of = {name: number for number, name in enumerate(classes)}
    for place, value in enumerate(values):
        if value is None or value == -1:
            raise ValueError(f"{split}[{place}] has {column}={value!r}, which means that it has no label. {_ADVICE}")
        if value not in number_of if isinstance(value, str) else not (isinstance(value, int) and 0 <= value < len(classes)):
            raise ValueError(
                f"{split}[{place}] has {column}={value!r}, and the head has {len(classes)} classes ({', '.join(classes[:8])}"
                f"{', ...' if len(classes) > 8 else ''}). Name all classes in labels=, or leave such examples out."
            )
    return torch.tensor([number_of[value] if isinstance(value, str) else int(value) for value in values])


_ADVICE = (
    "Leave such examples out, or name a split that has labels in splits=: those of GLUE's test sets were never published, and "
    "results are given on 'validation'."
)
