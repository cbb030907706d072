"""A skill on strings as a task: the embedded language model reads a prompt and writes the answer, character by character."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.ground.files import data_path
from coto_lab.ground.lists import list_of
from coto_lab.tasks.characters import CHARACTERS, PAD
from coto_lab.tasks.check import SPLITS, check_split
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
        name: as in `Task`; by default ``"strings/"`` and the name of the skill.
        target_modules: as in `Task`.
        classes: none; what the model says is a string.

    Raises:
        TypeError: ``skill`` is no `Skill`, ``train`` or ``test`` is no list of strings, or an answer is no string.
        ValueError: a body, its answer or the sign has a character that the tokenizer does not know, or a length on which the
            base model was not trained; the rule fails; a body is there twice; a split is empty; the tokenizer's folder is
            damaged.
    """

    skill: Skill
    train: Sequence[str] = field(repr=False)
    test: Sequence[str] = field(repr=False)
    name: str = ""
    target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj")
    classes: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        if not isinstance(self.skill, Skill):
            raise TypeError(f"skill={self.skill!r}: give a coto_lab.tasks.skills.Skill, which has a rule and a sign.")
        object.__setattr__(self, "name", self.name or f"strings/{self.skill.name}")
        known = characters_of(self.tokenizer)
        for split in SPLITS:
            bodies = list_of(split, getattr(self, split), str, "give a list of bodies, such as ['abcd', 'x1y2'].")
            # The rule is asked once, so that what is shown is what was trained on.
            examples = [checked_example(self.skill, body, known, f"{split}[{i}]") for i, body in enumerate(bodies)]
            object.__setattr__(self, split, tuple(bodies))
            object.__setattr__(self, f"_{split}", examples)
        every = Counter([*self.train, *self.test])
        if repeated := [body for body, times in every.items() if times > 1]:
            raise ValueError(f"{repeated[0]!r} is in train and test {every[repeated[0]]} times: take each body once.")

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
        return len(self._examples(split))

    def batch(self, split: str, indices: Sequence[int] | Tensor) -> Batch:
        """The examples at these places, padded on the right to the longest example of the task.

        Returns:
            ``input_ids`` (prompt and answer) and ``targets`` (the same, and -100 outside the answer), int64 ``[n, length]``.
        """
        check_split(split)
        columns = self._columns[split]
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
        said, in_answer = prediction.argmax(-1).cpu(), batch["targets"][:, 1:].cpu() != _NO_TARGET
        return [
            "".join(self.tokenizer.convert_ids_to_tokens(row[at].tolist())) for row, at in zip(said, in_answer, strict=True)
        ]

    def reads(self, batch: Batch) -> Bool[Tensor, "n length"]:
        """The prompt: what comes before the answer."""
        return (batch["targets"] == _NO_TARGET) & (batch["input_ids"] != self.tokenizer.pad_token_id)

    def show(self, split: str, indices: Sequence[int] | Tensor) -> list[Example]:
        """Prompts and right answers."""
        examples = self._examples(split)
        chosen = [examples[int(i)] for i in indices]
        return [Example(answer, text=prompt) for prompt, answer in chosen]

    def _examples(self, split: str) -> list[tuple[str, str]]:
        """Prompt and answer of each example of a split."""
        check_split(split)
        examples: list[tuple[str, str]] = getattr(self, f"_{split}")
        return examples

    @cached_property
    def _columns(self) -> dict[str, Batch]:
        """All examples of each split as one batch."""
        length = max(len(prompt + answer) for split in SPLITS for prompt, answer in self._examples(split))
        return {split: self._tokens(self._examples(split), length) for split in SPLITS}

    def _tokens(self, examples: Sequence[tuple[str, str]], length: int) -> Batch:
        input_ids = torch.full((len(examples), length), self.tokenizer.pad_token_id)
        targets = torch.full((len(examples), length), _NO_TARGET)
        for row, (prompt, answer) in enumerate(examples):
            tokens = torch.tensor(self.tokenizer.encode(prompt + answer))
            input_ids[row, : len(tokens)] = tokens
            targets[row, len(prompt) : len(tokens)] = tokens[len(prompt) :]
        return {"input_ids": input_ids, "targets": targets}


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer in a folder, in transformers' own format.

    Raises:
        ValueError: the folder is damaged, or its tokenizer gives other numbers to characters than `character_tokenizer`.
    """
    from transformers import AutoTokenizer

    again = "Restore the folder from the repository, or make it again: python data/make_letter_llama.py."
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        tokens = tokenizer.encode(CHARACTERS)
    except Exception as error:  # whatever transformers and tokenizers raise for a file that they cannot read
        raise ValueError(
            f"the tokenizer in {str(folder)!r} cannot be read ({type(error).__name__}: {error}). {again}"
        ) from error
    if tokens != list(range(len(CHARACTERS))) or (tokenizer.pad_token, tokenizer.eos_token) != (PAD, END):
        raise ValueError(
            f"the tokenizer in {str(folder)!r} is another one than the base model was trained with: it gives other numbers to "
            f"the characters, or its padding and end are not {PAD!r} and {END!r}. {again}"
        )
    return tokenizer


def characters_of(tokenizer: PreTrainedTokenizerBase) -> set[str]:
    """The characters of which signs, bodies and answers may be made: all that have a token, but for those with a meaning."""
    return set(tokenizer.get_vocab()) - {tokenizer.pad_token, EQUALS, END}


def checked_example(skill: Skill, body: str, known: Set[str], where: str) -> tuple[str, str]:
    """Prompt and answer of an example that the base model can read.

    Args:
        skill: makes them.
        body: of the example.
        known: the characters of which sign, body and answer may be made.
        where: what the message calls the body.

    Raises:
        TypeError: the rule returns no string.
        ValueError: the rule fails or returns an empty answer; a character without a token; a length that the base model has
            not seen.
    """
    here = f"{where}={body!r}"
    if len(body) not in BODY_LENGTHS:
        raise ValueError(
            f"{here}: it has {len(body)} characters, and the base model was trained on bodies of {BODY_LENGTHS[0]} to "
            f"{BODY_LENGTHS[-1]}."
        )
    try:
        answer = skill.rule(body)
    except Exception as error:  # a rule is the user's own
        raise ValueError(f"{here}: the rule of skill {skill.name!r} fails, {type(error).__name__}: {error}.") from error
    if not isinstance(answer, str):
        raise TypeError(f"{here}: the rule of skill {skill.name!r} returned {answer!r}; it must return the answer as a string.")
    if not answer:
        raise ValueError(f"{here}: the rule of skill {skill.name!r} returned an empty answer, so there is nothing to learn.")
    prompt, answer = skill.prompt(body), answer + END
    whole = prompt + answer
    if len(whole) > MOST_CHARACTERS:
        raise ValueError(
            f"{here}: the example {whole!r} has {len(whole)} characters, and the base model was trained on examples of at most "
            f"{MOST_CHARACTERS}."
        )
    if unknown := [character for character in skill.sign + body + answer[:-1] if character not in known]:
        raise ValueError(
            f"{here}: the example {whole!r} has the character {unknown[0]!r}, which the base model does not know in this "
            f"place. It knows {''.join(sorted(known))}"
        )
    return prompt, answer
