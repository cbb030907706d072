"""The model of a rehearsal has the shapes, the buffers and the blocks of the real one."""

from __future__ import annotations

import pytest
import tiny_models as tiny
import torch
from tiny_tasks import CopyTask
from torch import nn

from coto_lab import Classification
from coto_lab.probes._rehearsal import Rehearsal, shorten, stack_of, with_random_weights

MODELS = [tiny.llama, tiny.vit, tiny.bert, tiny.gpt2, tiny.t5, tiny.swin]


class Hub(CopyTask):
    """It has a skeleton, and refuses to load."""

    def load_base(self) -> nn.Module:
        raise AssertionError("the weights were asked for")

    def skeleton(self) -> nn.Module:
        with torch.device("meta"):
            return super().load_base()


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_weights_are_random_and_buffers_are_the_models_own(make) -> None:
    real = make()
    with torch.device("meta"):
        empty = make()
    state = torch.get_rng_state()
    filled = with_random_weights(empty, seed=3)
    assert torch.equal(state, torch.get_rng_state())
    assert {n: p.shape for n, p in filled.named_parameters()} == {n: p.shape for n, p in real.named_parameters()}
    for (name, one), (_, other) in zip(filled.named_buffers(), real.named_buffers(), strict=True):
        assert torch.equal(one, other), name
    for (name, one), (_, other) in zip(filled.named_parameters(), real.named_parameters(), strict=True):
        assert one.isfinite().all() and one.std(correction=0).item() == pytest.approx(
            other.std(correction=0).item(), rel=0.5
        ), name
    with torch.device("meta"):
        again = make()
    assert all(torch.equal(a, b) for a, b in zip(filled.parameters(), with_random_weights(again, 3).parameters(), strict=True))


@pytest.mark.parametrize(
    ("model", "targets", "blocks"),
    [
        (tiny.llama, ["q_proj"], 3),
        (tiny.vit, ["q_proj", "v_proj"], 3),
        (tiny.bert, ["query"], 3),
        (tiny.gpt2, ["c_attn"], 2),
        (tiny.llama, ["layers.1.self_attn.q_proj"], None),  # not on all blocks
        (tiny.t5, ["q"], None),  # two lists
        (tiny.swin, ["query", "q_proj"], None),  # a list for each stage
    ],
)
def test_the_list_of_all_blocks(model, targets: list[str], blocks: int | None) -> None:
    stack = stack_of(model(), targets)
    assert (stack is None) == (blocks is None)
    assert stack is None or len(stack) == blocks


def test_a_shortened_model_is_the_real_one_up_to_there() -> None:
    model = tiny.llama().eval()
    expected = model.model.norm(model.model(tiny.TOKENS, output_hidden_states=True).hidden_states[2])
    shorten(model, ["q_proj"], 2)
    assert torch.allclose(model.model(tiny.TOKENS).last_hidden_state, expected)
    with pytest.raises(ValueError, match=r"blocks=2: the blocks of T5\w+ are not in one list"):
        shorten(tiny.t5(), ["q"], 2)


def test_a_rehearsal_loads_no_weights_and_takes_the_batch_that_it_is_told() -> None:
    rehearsal = Rehearsal(Hub(), 1, blocks=2)
    assert len(rehearsal.load_base().model.layers) == 2 and len(Rehearsal(Hub(), 1).load_base().model.layers) == 4
    asked, told = torch.tensor([0, 1]), torch.tensor([5, 6])
    before = rehearsal.batch("train", asked)
    rehearsal.places[:] = [told]
    assert torch.equal(before["input_ids"], Hub().batch("train", asked)["input_ids"])
    assert torch.equal(rehearsal.batch("train", asked)["input_ids"], Hub().batch("train", told)["input_ids"])
    assert torch.equal(rehearsal.batch("test", asked)["input_ids"], Hub().batch("test", asked)["input_ids"])


def test_a_task_without_a_skeleton_brings_its_own_base(tiny_task: Classification) -> None:
    base, own = Rehearsal(tiny_task, 1).load_base(), tiny_task.load_base()
    assert all(torch.equal(a, b) for a, b in zip(base.parameters(), own.parameters(), strict=True))
