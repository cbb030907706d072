"""The columns of a data set: names of the classes, the targets of the examples as numbers, and inputs that are missing."""

from __future__ import annotations

import math
from collections import Counter
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
    if (names := _own_names(rows, column)) is not None:
        return names
    values = list(rows[column])
    if odd := [value for value in values if not isinstance(value, (int, str))]:
        raise ValueError(
            f"the column {column!r} holds {odd[0]!r}: classes are whole numbers from 0, or strings. For numbers to predict "
            "give regression=True; leave out examples without a label."
        )
    distinct = set(values)
    if all(isinstance(value, bool) for value in distinct):
        return ("False", "True")
    if all(isinstance(value, str) for value in distinct):
        found = tuple(sorted(distinct))
    elif max(distinct) < _MOST:
        found = tuple(map(str, range(max(distinct) + 1)))
    else:
        raise ValueError(
            f"the column {column!r} holds {max(distinct)}: numbers of classes count them from 0, and at most {_MOST} are "
            "supported. Store the labels as strings, and they are numbered here."
        )
    if len(found) < 2:
        one = f"the one class {found[0]!r}" if found else f"{max(distinct)} alone"
        raise ValueError(f"the column {column!r} holds {one}: there must be at least two classes to tell apart.")
    return found


def check_names(labels: Sequence[str]) -> None:
    """Whether ``labels`` can be the names of classes.

    Raises:
        ValueError: it is no tuple or list of strings, or holds a name twice.
    """
    if not isinstance(labels, (tuple, list)) or not all(isinstance(name, str) for name in labels):
        raise ValueError(f"labels={labels!r}: give a tuple of names.")
    if twice := [name for name, times in Counter(labels).items() if times > 1]:
        raise ValueError(f"labels={labels!r}: {twice[0]!r} is there {labels.count(twice[0])} times. Name each class once.")


def check_order(where: str, theirs: Sequence[str], ours: Sequence[str]) -> None:
    """Whether two lists of classes agree on the number of each name that both have.

    Upper and lower case count as the same, unless they alone tell two classes apart.

    Args:
        where: says what ``theirs`` are the classes of, for the message.
        theirs, ours: names in the order of their numbers; ``ours`` are the task's.

    Raises:
        ValueError: a name has two numbers: one of the two would be taken for another class.
    """
    folded = [[str(name).casefold() for name in names] for names in (theirs, ours)]
    if any(len(set(names)) < len(names) for names in folded):  # letters of both cases are classes
        folded = [[str(name) for name in names] for names in (theirs, ours)]
    numbers = {name: number for number, name in enumerate(folded[1])}
    if any(numbers.get(name, number) != number for number, name in enumerate(folded[0])):
        raise ValueError(
            f"{where} has the classes {tuple(theirs)}, and the task has {tuple(ours)}, so a name that both have has "
            "another number there. Give one order; labels= decides it where the column of the data holds names, as strings, "
            "and not numbers."
        )


def targets_of(rows: Dataset, column: str, classes: Sequence[str] | None, split: str) -> Tensor:
    """The targets of all examples: the numbers of their classes, int64 ``[N]``, or the numbers to predict, float32 ``[N]``.

    Args:
        rows: the data.
        column: with the labels.
        classes: their names; None where numbers are predicted.
        split: what messages call the data.

    Raises:
        ValueError: an example without a label, or with one that is no class, or no finite number; the data set has names of
            its own for the classes, in another order.
    """
    values = list(rows[column])
    if classes is None:
        for place, value in enumerate(values):
            if not isinstance(value, Real) or not math.isfinite(value):
                raise ValueError(f"{split}[{place}] has {column}={value!r}: it must be a finite number. {_ADVICE}")
        return torch.tensor(values, dtype=torch.float32)
    check_order(f"the column {column!r} of the data for {split}", _own_names(rows, column) or (), classes)
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


def first_missing(rows: Dataset, column: str) -> int | None:
    """The place of the first example that has nothing (None) in a column; None where all have something."""
    start = 0
    for part in rows.select_columns([column]).with_format("arrow").iter(_AT_ONCE):
        if part[column].null_count:
            return start + part[column].is_null().to_pylist().index(True)
        start += len(part)
    return None


def _own_names(rows: Dataset, column: str) -> tuple[str, ...] | None:
    """What the data set itself calls the classes, in the order of their numbers."""
    names: Sequence[str] | None = getattr(rows.features[column], "names", None)
    return None if names is None else tuple(names)


_MOST = 100_000  # classes; more are a mistake, such as a column of identifiers
_AT_ONCE = 10_000  # examples; without a selection, none of them is copied
_ADVICE = (
    "Leave such examples out, or name a split that has labels in splits=: those of GLUE's test sets were never published, and "
    "results are given on 'validation'."
)
