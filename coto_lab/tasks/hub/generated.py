"""Answers that a causal language model writes by itself, checked by a rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from jaxtyping import Float32, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.ground.numbers import whole_number
from coto_lab.tasks.check import SPLITS
from coto_lab.tasks.hub.causal import SupervisedFineTuning
from coto_lab.tasks.hub.source import Source
from coto_lab.tasks.hub.text import Passage, left_padded, logits_before
from coto_lab.tasks.task import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Rule = Callable[[str, str], float]
_GROUP = "[, \u00a0\u202f]"  # what parts thousands: a comma, or a space of some width
_SPACE = _GROUP.replace(",", "")
_NUMBER = re.compile(
    r"\D*?(?<![\w.,/^$:+-])"  # not in the middle of something
    r"(?P<sign>-?\$?|\$-)"
    rf"(?P<number>(\d{{1,3}}({_GROUP}\d{{3}})+|\d+)(\.\d+)?|\.\d+)"
    rf"(?!\d|[.,:–-]\d|{_SPACE}\d|\s*[/^]\s*\d|[eE][+-]?\d)"
)


def same_text(answer: str, reference: str) -> float:
    """1 where an answer is the reference to the letter, but for space around them."""
    return float(answer.strip() == reference.strip())


def same_last_number(answer: str, reference: str) -> float:
    """1 where the first number after the last ``####`` of an answer is exactly that of the reference, as in GSM8K.

    Thousands may be apart, as in 1,234,567, and a number may be in dollars. An answer without ``####`` is wrong, and so is one
    whose first digits there are not a whole or decimal number, as in 1/2 or 10:30.
    """
    found, wanted = _number(answer), _number(reference)
    return float(found is not None and found == wanted)


def _number(text: str) -> Decimal | None:
    _, mark, after = text.rpartition("####")
    match = _NUMBER.match(after.replace("\u2212", "-")) if mark else None
    return Decimal(match["sign"].replace("$", "") + re.sub(_GROUP, "", match["number"])) if match else None


@dataclass(frozen=True, eq=False)
class GeneratedAnswers(SupervisedFineTuning):
    """A causal language model writes answers, by greedy decoding, and a rule says how right they are.

    Training is that of `SupervisedFineTuning`, on the answers of the data set. A model in evaluation mode writes its own, which
    takes one forward pass for each token: scoring is slow, and variants are scored one after the other.

    Attributes:
        model, data, prompt, answer, subset, splits, chat, name, target_modules, max_length, cut, classes: as in
            `SupervisedFineTuning`.
        rule: a function of the answer that the model wrote and of the reference: how right the answer is, from 0 to 1.
        reference: the column with the references, which the rule is given as texts; None takes that with the answers.
        max_new_tokens: the most tokens that are written.
        generates: that `predict` does more than one forward pass, so that a model cannot be run block by block.

    Raises:
        TypeError: ``rule`` is no function.
        ValueError: ``max_new_tokens`` below 1; later, a prompt after which the model cannot write as many; a rule that fails or
            returns no number from 0 to 1.
    """

    rule: Rule = field(default=same_text, kw_only=True)
    reference: str | None = field(default=None, kw_only=True)
    max_new_tokens: int = field(default=256, kw_only=True)
    generates: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.rule):
            raise TypeError(f"rule={self.rule!r}: give a function of the answer and the reference, both texts.")
        object.__setattr__(self, "max_new_tokens", whole_number("max_new_tokens", self.max_new_tokens, 1))

    def load_base(self) -> PreTrainedModel:
        """A fresh copy of the base model, without the settings for writing that are saved with it, such as penalties.

        What it writes is so always the most likely token after what stands there already.
        """
        from transformers import GenerationConfig

        model = super().load_base()
        tokens = {name: getattr(model.generation_config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
        model.generation_config = GenerationConfig(**tokens)
        return model

    def fitted(self, passage: Passage, where: str) -> Passage:
        """As in `OnLanguageModel`; what the model writes after the prompt must fit as well."""
        passage = super().fitted(passage, where)
        length = len(passage.prompt) + self.max_new_tokens
        if self.readable and length > self.readable:
            raise ValueError(
                f"{where}: with max_new_tokens={self.max_new_tokens}, prompt and answer can have {length} tokens, and model "
                f"{self.source.name!r} reads at most {self.readable}. Lower max_new_tokens, or leave the example out."
            )
        return passage

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """As in `SupervisedFineTuning`, with the prompts alone, padded on the left, and the places of the references."""
        batch, places = super().batch(split, indices), [int(i) for i in indices]
        prompts = [self._passages[split][i].prompt for i in places]
        ids, mask = left_padded(prompts, self.tokenizer.pad_token_id)
        start = 0 if split == SPLITS[0] else self.size(SPLITS[0])
        return batch | {"prompt_ids": ids, "prompt_mask": mask, "references": torch.tensor(places) + start}

    def predict(self, model: nn.Module, batch: Batch) -> Shaped[Tensor, "n ..."]:
        """In training, logits as in `SupervisedFineTuning`; in evaluation mode, the loss and what the model writes.

        Returns:
            ``[n, places, vocabulary]``, or float32 ``[n, 1 + max_new_tokens]``: the loss of the right answer in nats, then the
            tokens of the model's own answer, and padding after its end. float32 holds whole numbers up to 2^24 exactly, and no
            vocabulary is as large.
        """
        logits = logits_before(model, batch)
        if model.training:
            return logits
        losses = super().loss(logits, batch)
        del logits  # they need more memory than what is to come
        written: Tensor = model.generate(  # type: ignore[operator]
            input_ids=batch["prompt_ids"], attention_mask=batch["prompt_mask"], **self._decoding
        )
        new = written[:, batch["prompt_ids"].shape[1] :]
        new = F.pad(new, (0, self.max_new_tokens - new.shape[1]), value=self.tokenizer.pad_token_id)
        return torch.cat([losses[:, None], new.to(losses.dtype)], dim=1)

    def loss(self, prediction: Shaped[Tensor, "n ..."], batch: Batch) -> Float32[Tensor, " n"]:
        """As in `SupervisedFineTuning`: ``[n]``."""
        return prediction[:, 0] if _is_written(prediction) else super().loss(prediction, batch)

    def measure(self, prediction: Shaped[Tensor, "n ..."], batch: Batch) -> dict[str, Tensor]:
        """The loss of the right answer, and how right the rule finds the model's own: each ``[n]``."""
        references = [self._references[place] for place in batch["references"].tolist()]
        scores = [self._score(*pair) for pair in zip(self.say(prediction, batch), references, strict=True)]
        return {"loss": self.loss(prediction, batch), "correct": torch.tensor(scores, dtype=torch.float64)}

    def say(self, prediction: Shaped[Tensor, "n ..."], batch: Batch) -> list[str]:
        """What the model wrote; of a prediction in training, as in `SupervisedFineTuning`: n strings."""
        if not _is_written(prediction):
            return super().say(prediction, batch)
        return [self.tokenizer.decode(row.long(), skip_special_tokens=True) for row in prediction[:, 1:]]

    def _score(self, answer: str, reference: str) -> float:
        try:
            score = self.rule(answer, reference)
        except Exception as error:  # a rule is the user's own
            raise ValueError(
                f"the rule of task {self.name!r} fails on the answer {answer!r} to the reference {reference!r}, "
                f"{type(error).__name__}: {error}."
            ) from error
        if not isinstance(score, Real) or not 0 <= float(score) <= 1:
            raise ValueError(
                f"the rule of task {self.name!r} returned {score!r} for the answer {answer!r} to the reference {reference!r}: "
                "return a number from 0 (wrong) to 1 (right)."
            )
        return float(score)

    @cached_property
    def _references(self) -> list[str]:
        column = self.reference or self.answer
        return [str(reference) for split in SPLITS for reference in self._rows[split][column]]

    @property
    def _columns(self) -> tuple[str, ...]:
        return (*super()._columns, *([self.reference] if self.reference else []))

    @cached_property
    def _decoding(self) -> dict[str, Any]:
        """Greedy, up to whatever ends an answer in the data."""
        ends = {passage.answer[-1] for split in SPLITS for passage in self._passages[split]}
        return {
            "do_sample": False,
            "max_new_tokens": self.max_new_tokens,
            "eos_token_id": sorted(ends | {self.tokenizer.eos_token_id}),
            "pad_token_id": self.tokenizer.pad_token_id,
        }


def gsm8k_task(model: str | Source, **options: Any) -> GeneratedAnswers:
    """The word problems of GSM8K, whose answers are texts that end with ``####`` and a number.

    Args:
        model: as in `GeneratedAnswers`.
        options: of `GeneratedAnswers`, such as ``chat=False``, or ``data`` for a copy in a folder.
    """
    own: dict[str, Any] = {
        "data": "openai/gsm8k", "subset": None if "data" in options else "main", "prompt": "question",
        "rule": same_last_number, "name": "gsm8k",
    }  # fmt: skip
    return GeneratedAnswers(model, **own | options)


def _is_written(prediction: Tensor) -> bool:
    """Whether a prediction holds tokens, and no logits."""
    return prediction.dim() == 2
