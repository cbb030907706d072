"""The protocol of a task: what an adapter is trained and scored on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from jaxtyping import Float, Int64, Shaped
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Batch = dict[str, Tensor]
Say = Callable[[Tensor, Batch], list[str]]
Reads = Callable[[Batch], Tensor]


@dataclass(frozen=True, eq=False)
class Example:
    """One example of a task, for people.

    Attributes:
        answer: what is right, such as the name of the class.
        text: the example as text; empty where it is an image.
        image: the example as an image, float ``[1, height, width]`` from -1 (paper) to 1 (ink), or None.
    """

    answer: str
    text: str = ""
    image: Float[Tensor, "1 height width"] | None = None


class Task(Protocol):
    """A frozen base model, its data, and what counts as right.

    Training, scoring, probes and views ask a task for nothing else. A class that has these members is a task; it need not
    inherit from this one. Everything that is measured is read off one forward pass, `predict`.

    A *batch* is a dict of tensors whose first dimension is the example, of any other shapes and names. Batches are made from
    indices, so a data set need not be in memory. What a task says of an example must not depend on the others in its batch, nor
    on how far they make it pad: a model needs its attention mask, and a mean over tokens must leave the padding out.

    A task may have five more members.

    ``say(prediction, batch) -> list[str]``, where answers are texts: the model's answer to each example as text, read off the
    prediction. Views then compare it with the right answer, character by character.

    ``modules_to_save: tuple[str, ...]``, such as ``("classifier",)``, where the base model has new layers, by the end of their
    names: they are trained whole beside the adapter, at the recipe's rate, and are a part of it (PEFT's ``modules_to_save``).
    No gate rules them: with all gates closed, a trained adapter is the base model with its trained new layers. `load_base`
    must give them equal weights each time.

    ``generates: bool``, True where `predict` does more than one forward pass, since the model writes its answers: then models
    are scored as a whole, one variant after the other.

    ``skeleton() -> PreTrainedModel``: the base model on torch's meta device, for what can be said of it before any weights are
    read or downloaded.

    ``reads(batch) -> BoolTensor [n, tokens]``, where batches hold the answers beside the inputs: which tokens that the model
    reads are the input, and neither the answer nor padding. Retrieval then looks at these alone.
    """

    @property
    def name(self) -> str:
        """What reports call the task."""

    @property
    def base(self) -> str:
        """The identity of the base model, such as a hash of its weights: adapters of different bases do not mix."""

    @property
    def target_modules(self) -> tuple[str, ...]:
        """The linear layers that get an adapter, by the end of their names."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes where `predict` returns one logit per class (``[n, classes]``) and batches have a column
        ``labels`` (int64 ``[n]``); empty for any other task.
        """

    def load_base(self) -> PreTrainedModel:
        """A fresh copy of the base model."""

    def size(self, split: str) -> int:
        """How many examples the split ``"train"`` or ``"test"`` has."""

    def batch(self, split: str, indices: Sequence[int] | Int64[Tensor, " n"]) -> Batch:
        """The examples at these places of a split as tensors on the CPU, collated: each ``[n, ...]``."""

    def predict(self, model: nn.Module, batch: Batch) -> Shaped[Tensor, "n ..."]:
        """What the model says to n examples, by one forward pass: ``[n, ...]``, such as logits."""

    def loss(self, prediction: Shaped[Tensor, "n ..."], batch: Batch) -> Float[Tensor, " n"]:
        """What training minimises, per example: ``[n]``, in nats."""

    def measure(self, prediction: Shaped[Tensor, "n ..."], batch: Batch) -> dict[str, Shaped[Tensor, " n"]]:
        """What a score is made of, per example, each ``[n]``: ``"loss"`` in nats, ``"correct"`` (1 or True where the answer is
        right, a share of 1 where it is right in part), and whatever else the task is measured by.
        """

    def show(self, split: str, indices: Sequence[int] | Int64[Tensor, " n"]) -> list[Example]:
        """The examples at these places, for people."""


def say_of(task: Task) -> Say | None:
    """The method ``say`` of a task that has one; None for any other."""
    say: Say | None = getattr(task, "say", None)
    return say


def modules_to_save_of(task: Task) -> tuple[str, ...]:
    """The new layers of a task that are trained whole, by the end of their names; none where it does not name any."""
    return tuple(getattr(task, "modules_to_save", ()))


def skeleton_of(task: Task) -> Callable[[], PreTrainedModel] | None:
    """The method ``skeleton`` of a task that has one; None for any other."""
    skeleton: Callable[[], PreTrainedModel] | None = getattr(task, "skeleton", None)
    return skeleton


def reads_of(task: Task) -> Reads | None:
    """The method ``reads`` of a task that has one; None for any other."""
    reads: Reads | None = getattr(task, "reads", None)
    return reads


def generates(task: Task) -> bool:
    """Whether the model of a task writes its answers, by more than one forward pass."""
    return bool(getattr(task, "generates", False))


def has_outputs(task: Task) -> bool:
    """Whether what a model says can be kept, as class logits (``classes``) or as text (``say``)."""
    return bool(task.classes) or say_of(task) is not None


def size_of(batch: Batch) -> int:
    """How many examples a batch has."""
    return len(next(iter(batch.values())))


def to_device(batch: Batch, device: object) -> Batch:
    """The batch on a device."""
    return {name: column.to(device) for name, column in batch.items()}  # type: ignore[call-overload]


def repeated(batch: Batch, times: int) -> Batch:
    """The batch so many times, one after the other."""
    import torch

    return {name: torch.cat([column] * times) for name, column in batch.items()} if times > 1 else batch
