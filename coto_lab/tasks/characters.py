"""The characters that the embedded language model reads, one token each, and its tokenizer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coto_lab.tasks.skills import DIGITS, END, EQUALS, LETTERS, SKILLS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

PAD = "_"
NEW_SIGNS = "!#$%&*:?@^|~"  # of tasks that the base model has never seen
CHARACTERS = PAD + END + EQUALS + DIGITS + LETTERS + "+,<>-" + "".join(skill.sign for skill in SKILLS.values()) + NEW_SIGNS


def character_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer in transformers' own format: every character of `CHARACTERS` is one token, and its number is its place."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({character: i for i, character in enumerate(CHARACTERS)}, unk_token=None))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, padding_side="right")
