"""Supervised fine-tuning of a causal language model: prompts, and the answers that it is to give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from jaxtyping import Float, Float32
from torch import Tensor, nn

from coto_lab.tasks.check import SPLITS, check_split
from coto_lab.tasks.hub.labels import first_missing
from coto_lab.tasks.hub.language_model import OnLanguageModel
from coto_lab.tasks.hub.splits import check_splits, name_of, read_splits
from coto_lab.tasks.hub.text import NO_TARGET, Passage, chat_passage, logits_before, plain_passage, right_padded, token_losses
from coto_lab.tasks.task import Batch, Example

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


@dataclass(frozen=True, eq=False)
class SupervisedFineTuning(OnLanguageModel):
    """A causal language model (Qwen, Llama, SmolLM, ...) learns to answer prompts, by the loss on the answers' tokens alone.

    An answer is right if greedy decoding would give exactly it, up to the token that ends it. One forward pass over prompt and
    answer shows this: every token of the answer must be the most likely one after the right ones before it.

    Making a task reads nothing; the data set, the tokenizer and the weights are read when they are first needed.

    Attributes:
        model, target_modules, max_length, cut, classes: as in `OnLanguageModel`.
        data: a data set of the hub, a folder of parquet, csv or json files, or a ``DatasetDict``.
        prompt, answer: names of the columns with the texts.
        subset: which configuration of the data set, such as ``"main"``.
        splits: the names of the splits to train and to score on.
        chat: whether the tokenizer's chat template makes the prompt of a message by the user and the answer of one by the
            assistant. A model without such a template reads the prompts as they are, with ``chat=False``; an answer that is
            to be apart from the prompt then begins with a space. A template that asks for the date gets a fixed one.
        name: as in `Task`; by default the name of the data set.
    """

    data: str | Path | DatasetDict
    prompt: str = field(default="prompt", kw_only=True)
    answer: str = field(default="answer", kw_only=True)
    subset: str | None = field(default=None, kw_only=True)
    splits: tuple[str, str] = field(default=SPLITS, kw_only=True)
    chat: bool = field(default=True, kw_only=True)
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_splits(self.splits)
        object.__setattr__(self, "name", self.name or name_of(self.data, "answers"))

    def size(self, split: str) -> int:
        """How many examples a split has."""
        check_split(split)
        return len(self._rows[split])

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at these places, padded on the right to the longest of them; see `right_padded`."""
        check_split(split)
        passages = [self._passages[split][int(i)] for i in indices]
        return right_padded(passages, self.tokenizer.pad_token_id)

    def predict(self, model: nn.Module, batch: Batch) -> Float[Tensor, "n places vocabulary"]:
        """Logits of the next token before each place of the answers: ``[n, places, vocabulary]``."""
        return logits_before(model, batch)

    def loss(self, prediction: Float[Tensor, "n places vocabulary"], batch: Batch) -> Float32[Tensor, " n"]:
        """Cross-entropy in nats, as a mean over the tokens of each answer: ``[n]``.

        So every example counts alike, however long its answer is.
        """
        return token_losses(prediction, batch["targets"]).sum(-1) / (batch["targets"] != NO_TARGET).sum(-1)

    def measure(self, prediction: Float[Tensor, "n places vocabulary"], batch: Batch) -> dict[str, Tensor]:
        """The loss, whether the whole answer is right, and ``"tokens"``, the share of its tokens that are: each ``[n]``."""
        right = (prediction.argmax(-1) == batch["targets"]).sum(-1)
        length = (batch["targets"] != NO_TARGET).sum(-1)
        return {"loss": self.loss(prediction, batch), "correct": right == length, "tokens": right / length}

    def say(self, prediction: Float[Tensor, "n places vocabulary"], batch: Batch) -> list[str]:
        """The most likely token at each place of an answer, given the right ones before it, as text: n strings."""
        rows = zip(prediction.argmax(-1), batch["targets"] != NO_TARGET, strict=True)
        return [self.tokenizer.decode(said[in_answer], skip_special_tokens=True) for said, in_answer in rows]

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """Prompts and right answers, as the data set has them."""
        check_split(split)
        rows = [self._rows[split][int(i)] for i in indices]
        return [Example(row[self.answer], text=row[self.prompt]) for row in rows]

    @cached_property
    def _rows(self) -> dict[str, Dataset]:
        rows = read_splits(self.data, self.subset, self.splits, self._columns)
        for split, column in product(SPLITS, self._columns):
            if (place := first_missing(rows[split], column)) is not None:
                raise ValueError(f"{split}[{place}]: its column {column!r} holds None, and no text. {_ADVICE}")
        return rows

    @property
    def _columns(self) -> tuple[str, ...]:
        """What the data set must have."""
        return (self.prompt, self.answer)

    @cached_property
    def _passages(self) -> dict[str, list[Passage]]:
        """All examples as tokens: what does not fit is refused before a training begins, and not in the middle of it."""
        if self.chat and not self.tokenizer.chat_template:
            raise ValueError(
                f"chat=True, and the tokenizer of {self.source.name!r} has no chat template, since the model is none that was "
                "made for conversations. Give chat=False."
            )
        passage = chat_passage if self.chat else plain_passage
        found: dict[str, list[Passage]] = {}
        for split in SPLITS:
            texts = zip(*(self._rows[split][column] for column in (self.prompt, self.answer)), strict=True)
            found[split] = []
            for place, (prompt, answer) in enumerate(texts):
                where = f"{split}[{place}]"
                for column, text in ((self.prompt, prompt), (self.answer, answer)):
                    if not isinstance(text, str) or not text.strip():
                        raise ValueError(f"{where}: its column {column!r} holds {text!r}, and no text. {_ADVICE}")
                found[split].append(self.fitted(passage(self.tokenizer, prompt, answer), where))
        return found


_ADVICE = "Leave such examples out, or name the columns with the prompts and the answers."
