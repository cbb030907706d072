"""The train and the test split of a data set of the hub, of a folder, or of one that is there already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from coto_lab.tasks.check import SPLITS
from coto_lab.tasks.hub.errors import reading

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


def check_splits(splits: tuple[str, str]) -> None:
    """ValueError unless these are the names of two splits."""
    if isinstance(splits, str) or len(splits) != len(SPLITS):
        raise ValueError(f"splits={splits!r}: give two names, that of the split to train on and that to score on.")


def name_of(data: object, otherwise: str) -> str:
    """What a task on a data set is called: a name on the hub, the last part of a folder's path, or ``otherwise``."""
    if not isinstance(data, (str, Path)):
        return otherwise
    return Path(data).resolve().name if Path(data).is_dir() else str(data)


def read_splits(
    data: str | Path | DatasetDict, subset: str | None, splits: tuple[str, str], columns: Sequence[str]
) -> dict[str, Dataset]:
    """The data sets to train and to score on, by the names ``"train"`` and ``"test"``.

    Args:
        data: a name on the hub, a folder of parquet, csv or json files, or a ``DatasetDict``.
        subset: which configuration of a data set of the hub.
        splits: what the data set itself calls the two.
        columns: that both must have.

    Raises:
        TypeError: ``data`` is of another kind.
        ValueError: a split or a column is missing, or a split is empty; and what `reading` raises.
    """
    import datasets

    if isinstance(data, (str, Path)):
        with reading(str(data), "the data set"):
            data = datasets.load_dataset(str(data), subset)
    if not isinstance(data, datasets.DatasetDict):
        raise TypeError(
            f"data is a {type(data).__name__}: give a name, a folder, or a DatasetDict with the splits {splits}. "
            "Dataset.train_test_split makes one of a Dataset."
        )
    if missing := [split for split in splits if split not in data]:
        raise ValueError(f"the data set has no split {missing[0]!r}; it has {', '.join(map(repr, data))}. Name two in splits=.")
    for split in splits:
        if lacking := [column for column in columns if column not in data[split].column_names]:
            raise ValueError(
                f"the split {split!r} has no column {lacking[0]!r}; it has {', '.join(map(repr, data[split].column_names))}."
            )
        if not len(data[split]):
            raise ValueError(f"the split {split!r} is empty.")
    return dict(zip(SPLITS, (data[split] for split in splits), strict=True))
