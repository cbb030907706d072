"""One text, or a pair of texts, to a class or to a number: BERT, RoBERTa, DeBERTa, ModernBERT and whatever has such a head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coto_lab.ground.numbers import whole_number
from coto_lab.tasks.check import check_split
from coto_lab.tasks.hub.classifier import Classifier
from coto_lab.tasks.hub.heads import most_tokens
from coto_lab.tasks.task import Batch, Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_USUAL = 128  # tokens: what is usual on GLUE


@dataclass(frozen=True, eq=False)
class SequenceClassification(Classifier):
    """A sequence classifier of transformers on a data set of texts.

    Making a task reads nothing; the data set, the tokenizer and the weights are read when they are first needed. Batches are
    padded to the longest of their examples; the attention mask hides the padding.

    Attributes:
        model, data, subset, splits, label, labels, regression, targets, new_layers, seed, name: as in `Classifier`.
        text: the column with the texts, or the two columns with the pairs.
        max_length: the most tokens of an example; longer ones are cut at their end, of a pair the longer text first. None
            takes 128, or what the model reads where that is less.

    Raises:
        TypeError, ValueError: as in `Classifier`.
        ValueError: ``text`` is not one or two names; ``max_length`` below 2; later, one that is more than the model reads.
    """

    text: str | tuple[str, ...] = field(default="text", kw_only=True)
    max_length: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        columns = (self.text,) if isinstance(self.text, str) else self.text
        if not isinstance(columns, (tuple, list)) or len(columns) not in (1, 2) or not all(isinstance(c, str) for c in columns):
            raise ValueError(f"text={self.text!r}: name one column of texts, or two of pairs.")
        object.__setattr__(self, "text", tuple(columns))
        if self.max_length is not None:
            object.__setattr__(self, "max_length", whole_number("max_length", self.max_length, 2))

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The model's tokenizer. It pads and cuts texts at their end, since models number positions from their beginning.

        XLNet's pads at the beginning, since the model's head looks at the last place, whatever is there.
        """
        tokenizer = self.source.tokenizer()
        tokenizer.padding_side = "left" if self.source.config().model_type == "xlnet" else "right"
        tokenizer.truncation_side = "right"
        return tokenizer

    @cached_property
    def longest(self) -> int:
        """The most tokens of an example.

        Raises:
            ValueError: ``max_length`` is more than the model reads.
        """
        read = [self.tokenizer.model_max_length, most_tokens(self.source.skeleton(self._model_class()))]
        limit: int = min(tokens for tokens in read if tokens is not None)
        if self.max_length is None:
            return min(_USUAL, limit)
        if self.max_length > limit:
            raise ValueError(f"max_length={self.max_length}: model {self.source.name!r} reads at most {limit} tokens.")
        return self.max_length

    def load_base(self) -> PreTrainedModel:
        """As of `Classifier`; a head that looks at a text's last token knows which token is the padding."""
        return self._told_padding(super().load_base())

    def skeleton(self) -> PreTrainedModel:
        """The base model without weights."""
        model = super().skeleton()
        return model if model.config.get_text_config().pad_token_id is not None else self._told_padding(model)

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The tokens of the examples at these places, padded to the longest, and their ``labels``: each ``[n, ...]``."""
        check_split(split)
        places = torch.as_tensor(indices)
        texts = [self._column(split, name, places) for name in self.text]
        tokens = self.tokenizer(*texts, truncation=True, max_length=self.longest, padding=True, return_tensors="pt")
        return {**tokens, "labels": self._targets[split][places]}

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """Texts and right answers; of a pair, the second text is on a line of its own."""
        check_split(split)
        places = torch.as_tensor(indices)
        texts = zip(*(self._column(split, name, places) for name in self.text), strict=True)
        return [
            Example(answer, text="\n".join(parts)) for answer, parts in zip(self.answers(split, places), texts, strict=True)
        ]

    def _told_padding(self, model: PreTrainedModel) -> PreTrainedModel:
        model.config.get_text_config().pad_token_id = self.tokenizer.pad_token_id
        return model

    def _column(self, split: str, name: str, places: Tensor) -> list[str]:
        found: list[str] = self._rows[split][places.tolist()][name]
        for place, text in zip(places.tolist(), found, strict=True):
            if not isinstance(text, str):
                raise ValueError(
                    f"{split}[{place}] has {name}={text!r}: it must be a text. Name another column, or leave it out."
                )
        return found

    def _inputs(self) -> tuple[str, ...]:
        return tuple(self.text)

    def _model_class(self) -> Any:
        from transformers import AutoModelForSequenceClassification

        return AutoModelForSequenceClassification
