"""Prompts and the answers to them as tokens: what all tasks on causal language models share."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from coto_lab.tasks.task import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NO_TARGET = -100
# Of chat templates that know it: no thoughts before an answer.
_SETTINGS = {"enable_thinking": False}
# Nor is the date of today in a prompt, on which a run would depend: this takes the place of what tells templates the date.
_FIXED_DATE = "{% macro strftime_now(format) %}26 Jul 2024{% endmacro %}{{ '' }}"


class Passage(NamedTuple):
    """The tokens of a prompt and of an answer to it."""

    prompt: list[int]
    answer: list[int]


def plain_passage(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> Passage:
    """The prompt with the special tokens that the tokenizer puts before a text, and the answer with the one that ends it."""
    begun, rest = _cut(_beginning(tokenizer, prompt), _beginning(tokenizer, prompt + answer))
    return Passage(begun, _ended(tokenizer, rest))


def chat_passage(tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str) -> Passage:
    """A user's message and the assistant's, as the tokenizer's chat template writes them; a model that can think does not.

    A template that asks for the date of today is given another one, the same on each day.

    Raises:
        ValueError: the template fails on these messages, leaves one of them out, or writes the user's otherwise once it is
            answered, so that there is no prompt to answer.
    """
    messages = [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]
    subject = f"the chat template of {tokenizer.name_or_path!r}"
    advice = "Give chat=False, and write the prompts as the model wants them."
    try:
        template = _FIXED_DATE + tokenizer.get_chat_template()
        begun, whole = (
            tokenizer.apply_chat_template(part, chat_template=template, tokenize=False, add_generation_prompt=asks, **_SETTINGS)
            for part, asks in ((messages[:1], True), (messages, False))
        )
    except Exception as error:  # a template is a program of the model's author
        raise ValueError(
            f"{subject} fails on a message of the user and an answer ({type(error).__name__}: {error}). {advice}"
        ) from error
    if not whole.startswith(begun):
        raise ValueError(
            f"{subject} writes {begun!r} before an answer, and {whole!r} with it, which begins otherwise. {advice}"
        )
    for text, where in ((prompt, begun), (answer, whole[len(begun) :])):
        if text.strip() not in where:
            raise ValueError(f"{subject} leaves out or changes {text!r}: it writes {whole!r}. {advice}")
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in (begun, whole.rstrip())]
    begun_ids, rest = _cut(*ids)
    return Passage(begun_ids, _ended(tokenizer, rest))


def continuation(tokenizer: PreTrainedTokenizerBase, prompt: str, text: str) -> Passage:
    """A text that goes on after a prompt; what space is at the prompt's end belongs to the text.

    Source: lm-evaluation-harness, which moves the space and tokenises both as one, too.
    """
    return Passage(*_cut(_beginning(tokenizer, prompt.rstrip()), _beginning(tokenizer, prompt + text)))


def _cut(prompt: list[int], whole: list[int]) -> Passage:
    """A text that was tokenised as one, cut where the tokens of its prompt end.

    A token that holds the end of the prompt and the beginning of what follows belongs to what follows.
    """
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(prompt, whole, strict=False)))
    return Passage(whole[:shared], whole[shared:])


def _beginning(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """The tokens of a text that goes on: with the special token that begins one, without that which ends one."""
    ids: list[int] = tokenizer.encode(text)
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def _ended(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> list[int]:
    """The tokens with one that ends them: a chat template may have put its own there."""
    last = tokenizer.added_tokens_decoder.get(ids[-1]) if ids else None
    return ids if last is not None and last.special else [*ids, tokenizer.eos_token_id]


def right_padded(passages: Sequence[Passage], pad: int) -> Batch:
    """Prompts with their answers, padded on the right, where a causal model does not see it from any token before it.

    Args:
        passages: n of them.
        pad: the padding token.

    Returns:
        ``input_ids`` and ``attention_mask``, int64 ``[n, length]``, and ``targets``, int64 ``[n, places]``: the last
        ``places`` tokens of each row, from the end of the shortest prompt on, and -100 where they are of no answer.
    """
    length = max(len(prompt) + len(answer) for prompt, answer in passages)
    input_ids = torch.full((len(passages), length), pad)
    mask, targets = torch.zeros_like(input_ids), torch.full_like(input_ids, NO_TARGET)
    for row, (prompt, answer) in enumerate(passages):
        end = len(prompt) + len(answer)
        input_ids[row, :end] = torch.tensor([*prompt, *answer])
        mask[row, :end] = 1
        targets[row, len(prompt) : end] = torch.tensor(answer)
    return {
        "input_ids": input_ids,
        "attention_mask": mask,
        "targets": targets[:, min(len(prompt) for prompt, _ in passages) :],
    }


def left_padded(prompts: Sequence[list[int]], pad: int) -> tuple[Int64[Tensor, "n length"], Int64[Tensor, "n length"]]:
    """Prompts, padded on the left, so that what a model writes follows each of them; and their attention mask."""
    length = max(map(len, prompts))
    rows = [[pad] * (length - len(prompt)) + prompt for prompt in prompts]
    masks = [[0] * (length - len(prompt)) + [1] * len(prompt) for prompt in prompts]
    return torch.tensor(rows), torch.tensor(masks)


def logits_before(model: nn.Module, batch: Batch) -> Float[Tensor, "n places vocabulary"]:
    """What a model says the next token is before each place of ``targets``; of a batch that `right_padded` made.

    Only these places go through the model's head: over a large vocabulary the logits are what takes most memory.
    """
    places = batch["targets"].shape[1]
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    logits: Tensor = model(**inputs, use_cache=False, logits_to_keep=places + 1).logits
    return logits[:, -places - 1 : -1]


def token_losses(
    logits: Float[Tensor, "n places vocabulary"], targets: Int64[Tensor, "n places"]
) -> Float32[Tensor, "n places"]:
    """The cross-entropy of each token of the answers in nats, and 0 elsewhere.

    One example after the other, so that only its logits are there in single precision.
    """
    rows = zip(logits, targets, strict=True)
    losses = [F.cross_entropy(row.float(), wanted, ignore_index=NO_TARGET, reduction="none") for row, wanted in rows]
    return torch.stack(losses)
