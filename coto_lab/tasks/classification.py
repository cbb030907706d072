"""Tasks with classes: one logit for each, and the highest one is the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.tasks.check import check_split
from coto_lab.tasks.part import Part
from coto_lab.tasks.task import Batch, Example

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel


@dataclass(frozen=True, eq=False)
class Classification:
    """Images or tokens to classes, by a model that returns ``logits``.

    Attributes:
        name, base, classes, target_modules: as in `Task`; class i is scored on the model's logit i.
        load_base: makes a fresh copy of the base model.
        train, test: data in torch format; column ``labels`` is int64, the others are the model's inputs.
        collate: makes a batch of a list of rows; then rows are read when they are needed. None takes columns of one shape,
            and keeps both splits in memory.

    Raises:
        ValueError: ``classes`` or ``target_modules`` is one string; data without a column ``labels``.
    """

    name: str
    base: str
    load_base: Callable[[], PreTrainedModel]
    train: Dataset
    test: Dataset
    classes: tuple[str, ...]
    target_modules: tuple[str, ...]
    collate: Callable[[list[dict[str, Any]]], Batch] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.target_modules, str) or isinstance(self.classes, str):
            raise ValueError(
                f"classes={self.classes!r}, target_modules={self.target_modules!r}: give tuples of names, such as ('q_proj',)."
            )
        for split, data in (("train", self.train), ("test", self.test)):
            columns = getattr(data, "column_names", None)
            if columns is not None and self.collate is None and "labels" not in columns:
                raise ValueError(f"{split} has the columns {columns}, but no column 'labels': rename the one with the classes.")

    @cached_property
    def train_batch(self) -> Batch:
        """The whole training split as tensors on the CPU, read once."""
        return self.train[:]

    @cached_property
    def test_batch(self) -> Batch:
        """The whole test split as tensors on the CPU, read once."""
        return self.test[:]

    def every(self, step: int) -> Part:
        """The task with every ``step``-th test example, from the first one on: neighbours in a test set are often alike."""
        return Part(self, step)

    def size(self, split: str) -> int:
        """How many examples a split has."""
        return len(self._data(split))

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at these places as tensors on the CPU: each ``[n, ...]``."""
        if self.collate is not None:
            batch = self.collate([self._data(split)[int(i)] for i in indices])
            if not isinstance(batch, Mapping):
                raise ValueError(f"collate of task {self.name!r} returned a {type(batch).__name__}: return a dict of tensors.")
            return self._with_labels(dict(batch))
        check_split(split)
        columns = self.train_batch if split == "train" else self.test_batch
        if odd := [name for name, column in columns.items() if not isinstance(column, Tensor)]:
            raise ValueError(
                f"the columns {odd} of the {split} data are no tensors of one shape. Give collate=, which makes a batch of a "
                "list of rows (rows of different lengths have to be padded), or data in torch format without these columns."
            )
        places = torch.as_tensor(indices)
        return self._with_labels({name: column[places] for name, column in columns.items()})

    def _with_labels(self, batch: Batch) -> Batch:
        """``batch``, if each of its labels is the place of a class."""
        labels = batch.get("labels")
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.dim() != 1:
            found = f"{labels.dtype} {list(labels.shape)}" if isinstance(labels, Tensor) else type(labels).__name__
            raise ValueError(f"the labels of task {self.name!r} are {found}: a batch needs a column 'labels', int64 [n].")
        if wrong := [label for label in labels.tolist() if not 0 <= label < len(self.classes)]:
            raise ValueError(
                f"task {self.name!r} has an example with label {wrong[0]} and {len(self.classes)} classes: labels must be from "
                f"0 to {len(self.classes) - 1}. Leave out examples without a class, or name all classes."
            )
        return batch

    def predict(self, model: nn.Module, batch: Batch) -> Tensor:
        """Logits of the task's classes: ``[n, classes]``."""
        inputs = {name: column for name, column in batch.items() if name != "labels"}
        return model(**inputs).logits[:, : len(self.classes)]

    def loss(self, prediction: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy over the task's classes, in nats: ``[n]``."""
        return F.cross_entropy(prediction, batch["labels"], reduction="none")

    def measure(self, prediction: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy in double precision, and whether the highest logit is the right one: each ``[n]``, on the CPU."""
        logits, labels = prediction.float().cpu().double(), batch["labels"].cpu()
        return {"loss": F.cross_entropy(logits, labels, reduction="none"), "correct": logits.argmax(-1) == labels}

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """Images where the data have ``pixel_values``, else the first other column as text."""
        batch = self.batch(split, indices)
        answers = [self.classes[label] for label in batch["labels"].tolist()]
        if (images := batch.get("pixel_values")) is not None:
            return [Example(answer, image=image) for answer, image in zip(answers, images, strict=True)]
        column = next(column for name, column in batch.items() if name != "labels")
        return [
            Example(answer, " ".join(map(str, row.flatten().tolist()))) for answer, row in zip(answers, column, strict=True)
        ]

    def _data(self, split: str) -> Dataset:
        check_split(split)
        return self.train if split == "train" else self.test
