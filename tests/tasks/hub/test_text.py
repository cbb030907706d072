"""Tokens of prompts and answers: padding, and losses of tokens."""

from __future__ import annotations

import pytest
import torch
from tiny_hub_models import byte_tokenizer
from tiny_models import llama
from torch import Tensor
from torch.nn import functional as F

from coto_lab.tasks.hub.text import Passage, continuation, left_padded, logits_before, plain_passage, right_padded, token_losses

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
