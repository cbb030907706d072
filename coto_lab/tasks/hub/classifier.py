"""What tasks with a head for classes, or for one number, have in common: model, new layers, labels and measures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.tasks.check import SPLITS, check_split
from coto_lab.tasks.hub.heads import attention_targets, check_targets, new_layers
from coto_lab.tasks.hub.labels import check_names, check_order, class_names, first_missing, targets_of
from coto_lab.tasks.hub.on_model import OnModel
from coto_lab.tasks.hub.splits import check_splits, name_of, read_splits
from coto_lab.tasks.task import Batch

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict
    from transformers import PretrainedConfig, PreTrainedModel

_RIGHT = 0.5  # how far a number may be from the right one and still count as correct


@dataclass(frozen=True, eq=False)
class Classifier(OnModel):
    """The half of a task that does not depend on what the examples are; making one reads nothing.

    The head is new where the checkpoint has none for these classes: then it trains whole beside the adapter, and is a part of
    it. Where the checkpoint has a head for as many classes, it stays as it is, and its outputs keep their order.

    Attributes:
        model: as in `OnModel`.
        data: a data set of the hub, a folder of parquet, csv or json files, or a ``DatasetDict``. No example may
            lack its input.
        subset: which configuration of a data set of the hub.
        splits: what the data set calls the splits to train and to score on.
        label: the column with the classes, as numbers from 0 or as strings, or with the numbers to predict.
        labels: names of the classes, in the order of their numbers; None reads them from the data.
        regression: whether the answer is one number, and no class.
        targets: the linear layers that get an adapter, by the end of their names; None takes those of the attention's
            queries, keys and values.
        new_layers: the layers that train whole, by the end of their names; None takes those beside the base model that the
            checkpoint's configuration does not have.
        seed: decides the first weights of the new layers.
        name: as in `Task`; by default the names of the data set and its configuration.

    Raises:
        TypeError: ``model`` is neither a string, a path, nor a `Source`.
        ValueError: a tuple of names that is one string; a class that is named twice; ``labels`` and ``regression`` together;
            ``splits`` are not two names. Later: an example without an input; classes that the data or the checkpoint's head
            number otherwise than the task; ``targets`` that the model does not have.
    """

    data: str | Path | DatasetDict
    subset: str | None = field(default=None, kw_only=True)
    splits: tuple[str, str] = field(default=("train", "validation"), kw_only=True)
    label: str = field(default="label", kw_only=True)
    labels: tuple[str, ...] | None = field(default=None, kw_only=True)
    regression: bool = field(default=False, kw_only=True)
    targets: tuple[str, ...] | None = field(default=None, kw_only=True)
    new_layers: tuple[str, ...] | None = field(default=None, kw_only=True)
    seed: int = field(default=0, kw_only=True)
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.data, Path):
            object.__setattr__(self, "data", str(self.data))
        for name in ("targets", "new_layers"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (tuple, list)) and all(isinstance(item, str) for item in value)):
                raise ValueError(f"{name}={value!r}: give a tuple of names.")
        check_splits(self.splits)
        if self.labels is not None:
            check_names(self.labels)
        if self.regression and self.labels is not None:
            raise ValueError(f"labels={self.labels!r}: a task with regression=True has no classes. Leave one of the two out.")
        parts = (name_of(self.data, "examples"), self.subset)
        object.__setattr__(self, "name", self.name or "/".join(part for part in parts if part))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """As in `Task`; none for a regression."""
        if self.regression:
            return ()
        return class_names(self._rows["train"], self.label) if self.labels is None else tuple(self.labels)

    @cached_property
    def target_modules(self) -> tuple[str, ...]:
        """As in `Task`."""
        skeleton = self.skeleton()
        if self.targets is None:
            return attention_targets(skeleton)
        check_targets(skeleton, self.targets)
        return tuple(self.targets)

    @cached_property
    def modules_to_save(self) -> tuple[str, ...]:
        """As in `Task`: the new layers."""
        found = self.new_layers
        if found is None:
            found = new_layers(self.source, self._model_class(), self.config)
        if not found and not self.regression:  # the head stays as it is
            own = self.source.config().id2label
            check_order(f"the head of model {self.source.name!r}", [own[number] for number in sorted(own)], self.classes)
        return tuple(found)

    @cached_property
    def config(self) -> PretrainedConfig:
        """The model's configuration, with a head for the task's classes."""
        if self.regression:
            return self.source.config(num_labels=1, problem_type="regression")
        names = dict(enumerate(self.classes))
        return self.source.config(id2label=names, label2id={name: i for i, name in names.items()})

    def load_base(self) -> PreTrainedModel:
        """A fresh copy of the base model; its new layers have equal weights each time."""
        return self.source.load(self._model_class(), config=self.config, seed=self.seed, whole=self.modules_to_save)

    def skeleton(self) -> PreTrainedModel:
        """The base model without weights."""
        return self.source.skeleton(self._model_class(), config=self.config, whole=self.modules_to_save)

    def size(self, split: str) -> int:
        """How many examples a split has."""
        check_split(split)
        return len(self._rows[split])

    def predict(self, model: nn.Module, batch: Batch) -> Float[Tensor, "n ..."]:
        """Logits of the classes, ``[n, classes]``, or the number that the model predicts, ``[n]``."""
        logits: Tensor = model(**{name: column for name, column in batch.items() if name != "labels"}).logits
        return logits.squeeze(-1) if self.regression else logits

    def loss(self, prediction: Float[Tensor, "n ..."], batch: Batch) -> Float[Tensor, " n"]:
        """Cross-entropy in nats, or of a regression the squared error: ``[n]``."""
        if self.regression:
            return (prediction.float() - batch["labels"]).square()
        return F.cross_entropy(prediction.float(), batch["labels"], reduction="none")

    def measure(self, prediction: Float[Tensor, "n ..."], batch: Batch) -> dict[str, Tensor]:
        """The loss in double precision, whether the answer is correct, and ``"prediction"`` and ``"label"`` themselves.

        Each is ``[n]``, on the CPU; a class is its number. A predicted number is correct if it is within 0.5 of the right one.
        """
        said, right = prediction.float().cpu().double(), batch["labels"].cpu()
        if self.regression:
            error = said - right
            return {"loss": error.square(), "correct": error.abs() <= _RIGHT, "prediction": said, "label": right}
        chosen = said.argmax(-1)
        loss = F.cross_entropy(said, right, reduction="none")
        return {"loss": loss, "correct": chosen == right, "prediction": chosen, "label": right}

    def answers(self, split: str, indices: Sequence[int] | Tensor) -> list[str]:
        """The right answers of the examples at these places, for people."""
        right = self._targets[split][torch.as_tensor(indices)].tolist()
        return [f"{number:g}" for number in right] if self.regression else [self.classes[i] for i in right]

    def _inputs(self) -> tuple[str, ...]:
        """The columns that the data set must have, besides the labels."""
        raise NotImplementedError

    @cached_property
    def _rows(self) -> dict[str, Dataset]:
        rows = read_splits(self.data, self.subset, self.splits, (*self._inputs(), self.label))
        for split, column in product(SPLITS, self._inputs()):
            if (place := first_missing(rows[split], column)) is not None:
                raise ValueError(
                    f"{split}[{place}] has {column}=None, so there is nothing to classify. Leave such examples out, or name "
                    "another column."
                )
        return rows

    @cached_property
    def _targets(self) -> dict[str, Tensor]:
        """The labels of all examples, looked at before anything is trained: float32 ``[N]``, or int64 ``[N]`` of classes."""
        classes = None if self.regression else self.classes
        return {split: targets_of(self._rows[split], self.label, classes, split) for split in SPLITS}
