"""Tokens of prompts and answers: padding, and losses of tokens."""

from __future__ import annotations

from string import ascii_lowercase

import pytest
import torch
import transformers
from tiny_hub_models import CHAT, byte_tokenizer
from tiny_models import llama
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, processors
from torch import Tensor
from torch.nn import functional as F

from coto_lab.tasks.hub.text import (
    Passage,
    chat_passage,
    continuation,
    left_padded,
    logits_before,
    plain_passage,
    right_padded,
    token_losses,
)

PASSAGES = [Passage([5, 6], [7]), Passage([8], [9, 10, 11])]


def test_padding_on_both_sides() -> None:
    batch = right_padded(PASSAGES, pad=3)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 3], [8, 9, 10, 11]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["targets"].tolist() == [[-100, 7, -100], [9, 10, 11]]
    ids, mask = left_padded([prompt for prompt, _ in PASSAGES], pad=3)
    assert (ids.tolist(), mask.tolist()) == ([[5, 6], [3, 8]], [[1, 1], [0, 1]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_logits_and_losses_are_those_of_the_whole_model(dtype: torch.dtype) -> None:
    model, batch = llama().eval().to(dtype), right_padded(PASSAGES, pad=3)
    with torch.no_grad():
        logits = logits_before(model, batch)
        whole: Tensor = model(batch["input_ids"]).logits
    torch.testing.assert_close(logits, whole[:, :3])
    losses = token_losses(logits, batch["targets"])
    assert losses.dtype == torch.float32 and (losses > 0).tolist() == [[False, True, False], [True, True, True]]
    expected = F.cross_entropy(whole[0, 1].float(), torch.tensor(7))
    torch.testing.assert_close(losses[0, 1], expected, rtol=0.02 if dtype == torch.bfloat16 else 1e-5, atol=0)


def test_a_continuation_is_tokenised_with_its_prompt() -> None:
    tokenizer = byte_tokenizer(chat=None)
    prompt, answer = continuation(tokenizer, "ab", " cd")
    assert (tokenizer.decode(prompt), tokenizer.decode(answer)) == ("ab", " cd")
    assert tokenizer.decode(plain_passage(tokenizer, "ab", " cd").answer) == " cd<|im_end|>"
    ended = plain_passage(tokenizer, "ab", "cd<|im_end|>").answer
    assert tokenizer.decode(ended) == "cd<|im_end|>", "an answer that says itself where it ends"


# --- Tokenizers that join a space and the letter after it -------------------------------------------------------------------


def joining_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """One token for each letter and for a space with a letter, as in Llama 2: each text gets a space before it."""
    letters = [*ascii_lowercase, "[", "]", "/"]
    tokens = ["<unk>", "<s>", "</s>", "▁", *letters, *(f"▁{letter}" for letter in letters)]
    merges = [("▁", letter) for letter in letters]
    inner = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges, unk_token="<unk>"))
    inner.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    inner.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    inner.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in ("<unk>", "<s>", "</s>")])
    inner.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=inner, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token }}[ {{ m.content }} /]{% else %} {{ m.content }} "
        "{{ eos_token }}{% endif %}{% endfor %}"
    )
    return tokenizer


def test_parts_that_join_are_the_tokens_of_the_whole() -> None:
    """Tokenised apart, the answer would get a second space."""
    tokenizer = joining_tokenizer()
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    prompt, answer = chat_passage(tokenizer, "hi", "yes")
    assert prompt + answer == tokenizer.apply_chat_template(messages)["input_ids"]
    assert tokenizer.convert_ids_to_tokens(answer) == ["▁y", "e", "s", "▁", "</s>"]
    prompt, answer = plain_passage(tokenizer, "hi", " yes")
    assert prompt + answer == [*tokenizer.encode("hi yes"), 2] and prompt == tokenizer.encode("hi")


@pytest.mark.parametrize(("prompt", "text"), [("is it ", "no"), ("is it", " no"), ("is it ", " no"), ("is it\n", "no")])
def test_space_at_the_end_of_a_prompt_belongs_to_what_follows(prompt: str, text: str) -> None:
    tokenizer = joining_tokenizer()
    begun, rest = continuation(tokenizer, prompt, text)
    assert begun == tokenizer.encode("is it") and begun + rest == tokenizer.encode(prompt + text)
    assert tokenizer.convert_ids_to_tokens(rest)[-2:] == ["n" if "\n" in prompt else "▁n", "o"]


def test_a_token_over_the_cut_belongs_to_what_follows() -> None:
    tokenizer = joining_tokenizer()
    begun, rest = plain_passage(tokenizer, "is it ", "no")
    assert (tokenizer.decode(begun, skip_special_tokens=True), tokenizer.convert_ids_to_tokens(rest)) == (
        "is it",
        ["▁n", "o", "</s>"],
    )


# --- Chat templates --------------------------------------------------------------------------------------------------------


def test_the_date_of_today_is_in_no_prompt() -> None:
    """Neither where a template asks for it, nor where it asks within a macro of its own."""
    today = "{% macro day() %}{{ strftime_now('%d %B %Y') }}{% endmacro %}\nToday: {{ day() }}\n"
    tokenizer = byte_tokenizer(today + CHAT)
    prompt, _ = chat_passage(tokenizer, "hi", "yes")
    assert tokenizer.decode(prompt).startswith("Today: 26 Jul 2024\n<|im_start|>user\nhi")


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (
            "{{ raise_exception('no system message') }}",
            r"fails on a message .* \(TemplateError: no system message\)\. Give chat=",
        ),
        ("{{ messages[0].parts.text }}", r"the chat template of '.*' fails on a message of the user and an answer \(Undefined"),
        ("{% if %}", r"fails on a message of the user and an answer \(TemplateSyntaxError"),
        (
            CHAT.replace("message.content", "message.content if message.role == 'user'"),
            r"leaves out or changes 'yes': it writes",
        ),
        (CHAT.replace("in messages", "in messages if message.role != 'user'"), r"leaves out or changes 'hi': it writes"),
        (CHAT.replace("message.content", "message.content[:2]"), r"leaves out or changes 'yes': it writes .* Give chat=False"),
    ],
)
def test_chat_templates_that_do_not_write_both_messages(template: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        chat_passage(byte_tokenizer(template), "hi", "yes")
