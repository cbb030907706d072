"""A skill on strings as a task: the embedded language model reads a prompt and writes the answer, character by character."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.ground.files import data_path
from coto_lab.ground.lists import list_of
from coto_lab.tasks.embedded import identity, load_embedded
from coto_lab.tasks.part import Part
from coto_lab.tasks.skills import BODY_LENGTHS, END, EQUALS, MOST_CHARACTERS, Skill
from coto_lab.tasks.task import Batch, Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BASE = "letter-llama"
_NO_TARGET = -100


@dataclass(frozen=True, eq=False)
class StringTask:
    """A skill that the embedded language model is to learn, from examples.

    The model reads a prompt such as ``!abcd=``, and its answer is right if it is ``dabc;`` to the last character. Whether each
    character is the most likely one after the right ones before it is read off one forward pass over prompt and answer. If all
    are, then ``model.generate`` writes the same answer, since it has read the same characters at every place; if one is not,
    it writes another answer.

    Attributes:
        skill: the rule, and the sign before each prompt.
        train, test: bodies of the examples; none is in both.
        name: as in `Task`.
        target_modules: as in `Task`.
        classes: none; what the model says is a string.

    Raises:
        TypeError: ``skill`` is no `Skill`, or ``train`` or ``test`` is no list of strings.
        ValueError: a body, its answer or the sign has a character that the tokenizer does not know, or a length on which the
            base model was not trained; a body is in both splits; a split is empty; the tokenizer's folder is damaged.
    """

    skill: Skill
    train: Sequence[str]
    test: Sequence[str]
    name: str = "strings"
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    classes: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.skill, Skill):
            raise TypeError(f"skill={self.skill!r}: give a coto_lab.tasks.skills.Skill, which has a rule and a sign.")
        known = characters_of(self.tokenizer)
        for split in ("train", "test"):
            bodies = list_of(split, getattr(self, split), str, "give a list of bodies, such as ['abcd', 'x1y2'].")
            object.__setattr__(self, split, tuple(bodies))
            for i, body in enumerate(bodies):
                check_example(self.skill, body, known, f"{split}[{i}]")
        if common := sorted(set(self.train) & set(self.test)):
            raise ValueError(f"train and test have {common[0]!r} in common, and {len(common) - 1} more: take each in one.")

    @cached_property
    def base(self) -> str:
        """As in `Task`."""
        return identity(BASE)

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base model's: one token per character."""
        return load_tokenizer(data_path(BASE))

    def load_base(self) -> PreTrainedModel:
        """A fresh copy of the base: a Llama with 8 blocks of width 128 that knows the skills of `coto_lab.tasks.skills`."""
        return load_embedded(BASE, "AutoModelForCausalLM", attention="sdpa")

    def every(self, step: int) -> Part:
        """The task with every ``step``-th test example, from the first one on."""
        return Part(self, step)

    def size(self, split: str) -> int:
        """How many examples a split has."""
        return len(self._bodies(split))

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at these places, padded on the right to the longest example of the task.

        Returns:
            ``input_ids`` (prompt and answer) and ``targets`` (the same, and -100 outside the answer), int64 ``[n, length]``.
        """
        columns = self._train_batch if split == "train" else self._test_batch
        places = torch.as_tensor(indices)
        return {name: column[places] for name, column in columns.items()}

    def predict(self, model: nn.Module, batch: Batch) -> Float[Tensor, "n places characters"]:
        """Logits of the next character at each of ``length - 1`` places: ``[n, places, characters]``.

        There is no attention mask, because a causal model at the place of a character does not see the padding after it.
        """
        logits: Tensor = model(input_ids=batch["input_ids"], use_cache=False).logits
        return logits[:, :-1]

    def loss(self, prediction: Float[Tensor, "n places characters"], batch: Batch) -> Float[Tensor, " n"]:
        """Cross-entropy in nats, as a mean over the characters of each answer: ``[n]``."""
        targets = batch["targets"][:, 1:]
        losses = F.cross_entropy(prediction.transpose(1, 2), targets, ignore_index=_NO_TARGET, reduction="none")
        return losses.sum(-1) / (targets != _NO_TARGET).sum(-1)

    def measure(self, prediction: Float[Tensor, "n places characters"], batch: Batch) -> dict[str, Tensor]:
        """The loss, whether the whole answer is right, and the share of its characters that are: each ``[n]``, on the CPU."""
        prediction = prediction.float().cpu().double()
        batch = {name: column.cpu() for name, column in batch.items()}
        targets = batch["targets"][:, 1:]
        right = (prediction.argmax(-1) == targets).sum(-1)
        length = (targets != _NO_TARGET).sum(-1)
        return {"loss": self.loss(prediction, batch), "correct": right == length, "characters": right / length}

    def say(self, prediction: Float[Tensor, "n places characters"], batch: Batch) -> list[str]:
        """The most likely character at each place of an answer, given the right ones before it: n strings."""
        said, targets = prediction.argmax(-1).cpu(), batch["targets"][:, 1:].cpu()
        return [
            "".join(self.tokenizer.decode([i]) for i in row[at >= 0].tolist()) for row, at in zip(said, targets, strict=True)
        ]

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """Prompts and right answers."""
        bodies = self._bodies(split)
        chosen = [bodies[int(i)] for i in indices]
        return [Example(self.skill.answer(body), text=self.skill.prompt(body)) for body in chosen]

    def _bodies(self, split: str) -> Sequence[str]:
        return self.train if split == "train" else self.test

    @cached_property
    def _train_batch(self) -> Batch:
        return self._tokens(self.train)

    @cached_property
    def _test_batch(self) -> Batch:
        return self._tokens(self.test)

    def _tokens(self, bodies: Sequence[str]) -> Batch:
        every = [*self.train, *self.test]
        length = max(len(self.skill.prompt(body)) + len(self.skill.answer(body)) for body in every)
        pad = self.tokenizer.pad_token_id
        input_ids = torch.full((len(bodies), length), pad)
        targets = torch.full((len(bodies), length), _NO_TARGET)
        for row, body in enumerate(bodies):
            prompt, answer = self.skill.prompt(body), self.skill.answer(body)
            tokens = torch.tensor(self.tokenizer.encode(prompt + answer, add_special_tokens=False))
            input_ids[row, : len(tokens)] = tokens
            targets[row, len(prompt) : len(tokens)] = tokens[len(prompt) :]
        return {"input_ids": input_ids, "targets": targets}


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, in transformers' own format.

    Raises:
        ValueError: the folder is damaged, or its tokenizer is not that of a language model of characters.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        ids = tokenizer.encode("ab", add_special_tokens=False)
    except Exception as error:  # whatever transformers and tokenizers raise for a file that they cannot read
        raise ValueError(
            f"{str(folder)!r} holds no tokenizer that can be read ({type(error).__name__}: {error}). Restore the folder from "
            "the repository, or make it again: python data/make_letter_llama.py."
        ) from error
    if len(ids) != 2 or tokenizer.pad_token_id is None:
        raise ValueError(
            f"the tokenizer in {str(folder)!r} makes {len(ids)} tokens of 'ab', and its padding is {tokenizer.pad_token!r}: "
            "this task needs one token for each character, and a padding. Restore the folder from the repository."
        )
    return tokenizer


def characters_of(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The characters of which signs, bodies and answers may be made: all that have a token, but for those with a meaning."""
    return set(tokenizer.get_vocab()) - {tokenizer.pad_token, EQUALS, END}


def check_example(skill: Skill, body: str, known: Set[str], where: str) -> None:
    """Whether the base model can read an example.

    Args:
        skill: makes the prompt and the answer.
        body: of the example.
        known: the characters of which sign, body and answer may be made.
        where: what the message calls the body.

    Raises:
        ValueError: a character without a token, or a length that the base model has not seen.
    """
    if len(body) not in BODY_LENGTHS:
        raise ValueError(
            f"{where}={body!r}: it has {len(body)} characters, and the base model was trained on bodies of {BODY_LENGTHS[0]} "
            f"to {BODY_LENGTHS[-1]}."
        )
    whole = skill.prompt(body) + skill.answer(body)
    if len(whole) > MOST_CHARACTERS:
        raise ValueError(
            f"{where}={body!r}: the example {whole!r} has {len(whole)} characters, and the base model was trained on examples "
            f"of at most {MOST_CHARACTERS}."
        )
    if unknown := [character for character in skill.sign + body + skill.rule(body) if character not in known]:
        raise ValueError(
            f"{where}={body!r}: the example {whole!r} has the character {unknown[0]!r}, which the base model does not know in "
            f"this place. It knows {''.join(sorted(known))}"
        )
