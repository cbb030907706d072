"""A model cut at its blocks computes what the whole model computes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from tiny_models import TOKENS, bert, llama, t5, vit
from torch import Tensor, nn

from coto_lab.scoring.block_chain import BlockChain, NotAChain

IMAGES = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
PADDING = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
MODELS: dict[str, tuple[Callable[[], nn.Module], str, dict[str, Tensor]]] = {
    "vit": (vit, "vit.layers", {"pixel_values": IMAGES}),
    "llama": (llama, "model.layers", {"input_ids": TOKENS}),
    "llama, padded": (llama, "model.layers", {"input_ids": TOKENS, "attention_mask": PADDING}),
    "bert": (bert, "bert.encoder.layer", {"input_ids": TOKENS, "attention_mask": PADDING}),
}


@pytest.fixture(autouse=True)
def _no_gradients():
    with torch.no_grad():
        yield


@pytest.mark.parametrize("name", MODELS)
def test_enter_blocks_and_leave_are_the_whole_forward(name: str) -> None:
    make, stack, inputs = MODELS[name]
    model = make().eval()
    seen: list[Tensor] = []
    for block in model.get_submodule(stack):
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    expected = model(**inputs).logits
    states, seen[:] = list(seen), []
    chain = BlockChain(model.get_submodule(stack))
    hidden = chain.enter(lambda: model(**inputs))
    for i, state in enumerate(states):
        assert torch.equal(chain.block(i, hidden), chain.block(i, hidden)), "a block is to compute the same again"
        hidden = chain.block(i, hidden)
        assert torch.equal(hidden, state)
    assert torch.equal(chain.leave(lambda: model(**inputs), hidden).logits, expected)
    assert not torch.equal(chain.leave(lambda: model(**inputs), states[0]).logits, expected)


def test_only_the_block_that_is_asked_for_is_computed() -> None:
    model = vit().eval()
    computed: list[int] = []
    for i, block in enumerate(model.vit.layers):
        block.mlp.register_forward_hook(lambda *_, i=i: computed.append(i))
    chain = BlockChain(model.vit.layers)
    hidden = chain.enter(lambda: model(pixel_values=IMAGES))
    assert computed == []
    hidden = chain.block(1, hidden)
    assert computed == [1]
    chain.leave(lambda: model(pixel_values=IMAGES), hidden)
    assert computed == [1]


def test_a_model_of_one_block_is_left_from_that_block() -> None:
    model = vit(layers=1).eval()
    chain = BlockChain(model.vit.layers)
    hidden = chain.block(0, chain.enter(lambda: model(pixel_values=IMAGES)))
    assert torch.equal(chain.leave(lambda: model(pixel_values=IMAGES), hidden).logits, model(pixel_values=IMAGES).logits)


class Toy(nn.Module):
    """A stack of linear blocks that are called as ``order`` says, by ``call``."""

    def __init__(self, order: list[int], call: Callable[[nn.Module, Tensor], Tensor] = lambda block, x: block(x)):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
        self.order, self.call = order, call

    def forward(self, x: Tensor) -> Tensor:
        for index in self.order:
            x = self.call(self.blocks[index], x)
        return x


@pytest.mark.parametrize(
    ("order", "message"),
    [
        ([0, 1], "only 2 of 3 blocks were called"),
        ([0, 2], "block 2 was called as number 1"),
        ([1, 0, 2], "block 1 was called as number 0"),
        ([0, 0, 1, 2], "block 0 was called as number 1"),
    ],
    ids=str,
)
def test_blocks_that_are_skipped_repeated_or_out_of_order_are_no_chain(order: list[int], message: str) -> None:
    model = Toy(order)
    with pytest.raises(NotAChain, match=message):
        BlockChain(model.blocks).enter(lambda: model(torch.ones(2, 3)))


def test_a_block_called_without_a_hidden_state_in_front_is_no_chain() -> None:
    model = Toy([0, 1, 2], call=lambda block, x: block(input=x))
    with pytest.raises(NotAChain, match="block 0 was called as number 0, or without a hidden state"):
        BlockChain(model.blocks).enter(lambda: model(torch.ones(2, 3)))


def test_one_block_at_two_places_is_no_chain() -> None:
    block = nn.Linear(3, 3)
    with pytest.raises(NotAChain, match="same block stands in the stack twice"):
        BlockChain(nn.ModuleList([block, nn.Linear(3, 3), block]))


def test_blocks_whose_outputs_the_model_takes_apart_are_no_chain() -> None:
    t5_model = t5().eval()  # hidden_states, position_bias = block(...)
    with pytest.raises(NotAChain, match="does not run without its blocks: not enough values to unpack"):
        BlockChain(t5_model.encoder.block).enter(lambda: t5_model(input_ids=TOKENS))
    model = Toy([0, 1, 2], call=lambda block, x: block(x)[0])
    with pytest.raises(NotAChain, match="block 1 was given another shape"):
        BlockChain(model.blocks).enter(lambda: model(torch.ones(2, 3)))


@pytest.mark.parametrize(("output", "found"), [(lambda x: (x, None), "tuple"), (lambda x: x[:, :2], "Tensor")])
def test_a_block_that_returns_something_else_is_no_chain(output: Callable[[Tensor], object], found: str) -> None:
    blocks = nn.ModuleList([nn.Linear(3, 3)])
    blocks[0].forward = output
    chain = BlockChain(blocks)
    hidden = chain.enter(lambda: blocks[0](torch.ones(2, 3)))
    with pytest.raises(NotAChain, match=f"block 0 returned a {found}, not one hidden state"):
        chain.block(0, hidden)


@pytest.mark.parametrize("stage", ["enter", "leave"])
def test_the_model_is_itself_again_after_an_exception(stage: str) -> None:
    model, x = Toy([0, 1, 2]), torch.ones(2, 3)

    def own(x: Tensor) -> Tensor:  # as accelerate's hooks put one on the instance
        return x + 1

    model.blocks[1].forward = own
    expected = model(x)
    chain = BlockChain(model.blocks)

    def fail() -> None:
        assert model.blocks[1].forward is not own
        raise RuntimeError("out of memory")

    with pytest.raises((RuntimeError, NotAChain), match="out of memory"):
        chain.enter(fail) if stage == "enter" else chain.leave(fail, x)
    assert torch.equal(model(x), expected)
    assert model.blocks[1].forward is own
    assert "forward" not in vars(model.blocks[0])
