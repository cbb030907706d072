"""A task: a frozen base model, its data, and the logits that count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional as F

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedModel

Batch = dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Task:
    """What an adapter is trained and scored on.

    Attributes:
        name: what `load_task` calls it.
        base: identity of the base model (a hash of its weights): adapters of different bases do not mix.
        load_base: makes a fresh copy of the base model.
        train, test: data in torch format; column ``labels`` is int64, the others are the model's inputs.
        classes: names of the classes; class i is scored on the model's logit i.
        target_modules: the linear layers that get an adapter, by the end of their names.
    """

    name: str
    base: str
    load_base: Callable[[], PreTrainedModel]
    train: Dataset
    test: Dataset
    classes: tuple[str, ...]
    target_modules: tuple[str, ...]

    @cached_property
    def train_batch(self) -> Batch:
        """The whole training split as tensors on the CPU, read once."""
        return self.train[:]

    @cached_property
    def test_batch(self) -> Batch:
        """The whole test split as tensors on the CPU, read once."""
        return self.test[:]

    def every(self, step: int) -> Task:
        """The same task with every ``step``-th test image, from the first one on: neighbours in a test set are often alike."""
        return replace(self, test=self.test.select(range(0, len(self.test), step)))

    def logits(self, model: nn.Module, batch: Batch) -> Tensor:
        """Scores of the task's classes for a batch of n examples: ``[n, classes]``."""
        inputs = {name: column for name, column in batch.items() if name != "labels"}
        return model(**inputs).logits[:, : len(self.classes)]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy over the task's classes, in nats."""
        return F.cross_entropy(self.logits(model, batch), batch["labels"])
