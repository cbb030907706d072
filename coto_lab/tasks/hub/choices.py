"""Multiple choice by log-likelihood: the choice that a causal language model finds most likely is its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coto_lab.tasks.check import SPLITS, check_split
from coto_lab.tasks.hub.choice_sets import CHOICE_SETS, ChoiceSet, Question
from coto_lab.tasks.hub.language_model import OnLanguageModel
from coto_lab.tasks.hub.splits import read_splits
from coto_lab.tasks.hub.text import NO_TARGET, Passage, continuation, logits_before, right_padded, token_losses
from coto_lab.tasks.task import Batch, Example

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


class _Tokens(NamedTuple):
    """A question as tokens: prompt and choice, and the bytes of each choice's text."""

    passages: list[Passage]
    n_bytes: list[int]
    right: int


@dataclass(frozen=True, eq=False)
class MultipleChoice(OnLanguageModel):
    """Questions with choices (ARC, HellaSwag, BoolQ, PIQA, ...), answered by the log-likelihood of each choice's text.

    Making a task reads nothing; the data set, the tokenizer and the weights are read when they are first needed.

    Attributes:
        model, target_modules, max_length, cut, classes: as in `OnLanguageModel`.
        questions: a `ChoiceSet`, or the name of one in `CHOICE_SETS`, such as ``"arc-easy"``.
        data: what is read in place of the set's own data: a name, a folder or a ``DatasetDict`` with the same columns.
        name: as in `Task`; by default the name of the set.

    Raises:
        ValueError: no set has this name.
        TypeError: ``questions`` is neither a name nor a `ChoiceSet`.

    Source: the log-likelihoods and both ways to compare them are those of lm-evaluation-harness.
    """

    questions: str | ChoiceSet
    data: str | Path | DatasetDict | None = field(default=None, kw_only=True)
    name: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.questions, str) and self.questions not in CHOICE_SETS:
            raise ValueError(
                f"questions={self.questions!r}: must be one of {', '.join(map(repr, CHOICE_SETS))}, or a ChoiceSet of your own."
            )
        if not isinstance(self.questions, (str, ChoiceSet)):
            raise TypeError(f"questions={self.questions!r}: give a name such as 'arc-easy', or a ChoiceSet.")
        object.__setattr__(self, "name", self.name or (self.questions if isinstance(self.questions, str) else "choices"))

    @cached_property
    def choice_set(self) -> ChoiceSet:
        """How the rows of the data set are read."""
        return CHOICE_SETS[self.questions] if isinstance(self.questions, str) else self.questions

    def size(self, split: str) -> int:
        """How many examples a split has."""
        check_split(split)
        return len(self._rows[split])

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The questions at these places, each with as many choices as the longest of them has.

        Returns:
            What `right_padded` returns, as ``[n, choices, ...]``; ``labels``, int64 ``[n]``; and ``bytes``, int64
            ``[n, choices]``, which is 0 where a question has no such choice. There its first choice stands again, without
            targets.
        """
        check_split(split)
        questions = [self._tokens[split][int(i)] for i in indices]
        n_choices = max(len(question.passages) for question in questions)
        n_bytes = torch.zeros(len(questions), n_choices, dtype=torch.long)
        passages: list[Passage] = []
        for row, question in enumerate(questions):
            missing = n_choices - len(question.passages)
            passages += [*question.passages, *[question.passages[0]] * missing]
            n_bytes[row, : len(question.n_bytes)] = torch.tensor(question.n_bytes)
        batch = right_padded(passages, self.tokenizer.pad_token_id)
        batch = {name: column.unflatten(0, (len(questions), n_choices)) for name, column in batch.items()}
        batch["targets"][n_bytes == 0] = NO_TARGET
        return batch | {"bytes": n_bytes, "labels": torch.tensor([question.right for question in questions])}

    def predict(self, model: nn.Module, batch: Batch) -> Float[Tensor, "n choices"]:
        """The log-likelihood of each choice, the sum over its tokens in nats: ``[n, choices]``.

        It is 0 where there is no choice, and, in training, for all but the right one, the only one that is learned.
        """
        n, n_choices = batch["bytes"].shape
        rows = torch.arange(n * n_choices, device=batch["labels"].device)
        if model.training:
            rows = rows.view(n, n_choices).gather(1, batch["labels"][:, None]).flatten()
        passages = {name: batch[name].flatten(0, 1)[rows] for name in ("input_ids", "attention_mask", "targets")}
        losses = token_losses(logits_before(model, passages), passages["targets"]).sum(-1)
        return -losses.new_zeros(n * n_choices).index_copy(0, rows, losses).view(n, n_choices)

    def loss(self, prediction: Float[Tensor, "n choices"], batch: Batch) -> Float[Tensor, " n"]:
        """Cross-entropy of the right choice in nats, as a mean over its tokens: ``[n]``."""
        right = batch["labels"][:, None]
        n_tokens = (batch["targets"] != NO_TARGET).sum(-1)
        return -(prediction / n_tokens.clamp(min=1)).gather(1, right)[:, 0]

    def measure(self, prediction: Float[Tensor, "n choices"], batch: Batch) -> dict[str, Tensor]:
        """The loss; ``"correct"``: whether the right choice is the most likely one; and ``"correct_normalised"``: whether it is
        by the mean over the bytes of the choices' texts: each ``[n]``.

        They are ``acc`` and ``acc_norm`` of lm-evaluation-harness, except that ``acc_norm`` counts characters, of which plain
        ASCII has as many as bytes.
        """
        absent = batch["bytes"] == 0
        found = {"correct": prediction, "correct_normalised": prediction / batch["bytes"].clamp(min=1)}
        right = {name: value.masked_fill(absent, -torch.inf).argmax(-1) == batch["labels"] for name, value in found.items()}
        return {"loss": self.loss(prediction, batch)} | right

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """What stands before the right choice, and that choice."""
        check_split(split)
        questions = [self.choice_set.read(self._rows[split][int(i)]) for i in indices]
        return [Example(q.choices[q.right].strip(), text=q.contexts[q.right]) for q in questions]

    @cached_property
    def _rows(self) -> dict[str, Dataset]:
        own = self.choice_set
        return read_splits(self.data or own.data, None if self.data else own.subset, own.splits, own.columns)

    @cached_property
    def _tokens(self) -> dict[str, list[_Tokens]]:
        """All questions as tokens: what cannot be read or does not fit is refused before a training begins."""
        return {
            split: [self._tokenised(row, f"{split}[{place}]") for place, row in enumerate(self._rows[split])]
            for split in SPLITS
        }

    def _tokenised(self, row: Mapping[str, object], where: str) -> _Tokens:
        question = self._question(row, where)
        pairs = zip(question.contexts, question.choices, strict=True)
        return _Tokens(
            [self.fitted(continuation(self.tokenizer, context, choice), where) for context, choice in pairs],
            [len(choice.strip().encode()) for choice in question.choices],
            question.right,
        )

    def _question(self, row: Mapping[str, object], where: str) -> Question:
        try:
            question = self.choice_set.read(row)
        except Exception as error:  # the user's own function, or a row that is not as its data set promises
            raise ValueError(
                f"{where}: the question cannot be read ({type(error).__name__}: {error}) from {dict(row)}. Leave such examples "
                "out; test splits without answers cannot be scored on."
            ) from error
        contexts, choices, right = question.contexts, question.choices, question.right
        if len(choices) < 2 or len(contexts) != len(choices) or not 0 <= right < len(choices):
            raise ValueError(
                f"{where}: {question} is no question with at least two choices, a context for each, and the place of the right "
                "one."
            )
        if blank := [choice for choice in choices if not choice.strip()]:
            raise ValueError(f"{where}: the choice {blank[0]!r} of {question} is no text.")
        return question
