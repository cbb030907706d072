"""Under torch.compile, the blocks of a class need four graphs at most, and masks and gradients are as without it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import tiny_models as tiny
import torch
from torch import nn
from torch._dynamo.utils import counters

from coto_lab import attach_gates
from coto_lab.gating.compiling import is_compiled_alone

BLOCKS = 6
STEPS = 18
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # dynamo looks


class Graphs(list[torch.fx.GraphModule]):
    """A backend that runs graphs as they are, and keeps them."""

    def __call__(self, graph: torch.fx.GraphModule, inputs: object) -> Callable[..., object]:
        self.append(graph)
        return graph.forward

    def of_blocks(self) -> int:
        """How many of them are graphs of a block: of a part of the model with an adapted layer."""
        return sum(any("q_proj" in node.name for node in graph.graph.nodes if node.op == "placeholder") for graph in self)


@pytest.fixture
def graphs() -> Iterator[Graphs]:
    """Counts what is compiled; where torch would give up and run a function uncompiled, it raises an error."""
    torch._dynamo.reset()
    counters.clear()
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        yield Graphs()
    torch._dynamo.reset()


def tokens(rows: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    ids = torch.randint(32, (rows, 6), generator=torch.Generator().manual_seed(seed))
    return {"input_ids": ids, "labels": ids}


def images(rows: int = 2, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {"pixel_values": torch.randn(rows, 1, 8, 8, generator=generator), "labels": torch.arange(rows) % 3}


KINDS = {
    "llama": (lambda: tiny.adapted(model=tiny.llama(layers=BLOCKS)), tokens),
    "vit": (lambda: tiny.adapted(model=tiny.vit(layers=BLOCKS)), images),
}


def random_mask(step: int) -> torch.Tensor:
    mask = torch.rand(BLOCKS, generator=torch.Generator().manual_seed(step)) < 0.5
    mask[step % BLOCKS] = True
    return mask


def step_of(call: Callable[..., object], model: nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict]:
    """The loss and the gradients of a training step."""
    model.train()
    model.zero_grad()
    loss = call(**batch).loss  # type: ignore[attr-defined]
    loss.backward()
    return loss, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def assert_same(ours: tuple[torch.Tensor, dict], theirs: tuple[torch.Tensor, dict]) -> None:
    torch.testing.assert_close(ours[0], theirs[0])
    for name, gradient in theirs[1].items():
        assert (ours[1][name] is None) == (gradient is None), name
        if gradient is not None:
            torch.testing.assert_close(ours[1][name], gradient)


@pytest.mark.parametrize(("kind", "how"), [("llama", "whole"), ("vit", "whole in place"), ("llama", "block by block")])
def test_four_graphs_are_enough_for_all_masks(kind: str, how: str, graphs: Graphs) -> None:
    make, batch = KINDS[kind]
    model, plain = make(), make()
    gates, oracle = attach_gates(model), attach_gates(plain)
    call = model
    if how == "whole":
        call = torch.compile(model, backend=graphs)
    elif how == "whole in place":
        model.compile(backend=graphs)
    else:
        for block in gates.blocks:
            model.get_base_model().get_submodule(block).compile(backend=graphs, fullgraph=True)
    with torch._dynamo.config.patch(recompile_limit=8):  # torch's own, at which it gives up
        for step in range(STEPS):
            gates.train_with(random_mask(step))
            oracle.train_with(random_mask(step))
            assert_same(step_of(call, model, batch(seed=step)), step_of(plain, plain, batch(seed=step)))
    assert 2 <= graphs.of_blocks() <= 4


def test_without_an_end_of_the_graph_at_each_block_torch_would_give_up(graphs: Graphs) -> None:
    model = KINDS["llama"][0]()
    gates = attach_gates(model)
    for module in model.modules():
        module._forward_pre_hooks.clear()
    call = torch.compile(model, backend=graphs)
    with (
        torch._dynamo.config.patch(recompile_limit=2),
        pytest.raises(torch._dynamo.exc.FailOnRecompileLimitHit, match="recompile_limit"),
    ):
        for block in range(3):  # three masks
            gates.train_with(torch.arange(BLOCKS) == block)
            step_of(call, model, tokens())


def test_a_block_with_several_gates_is_compiled_layer_by_layer(graphs: Graphs) -> None:
    model, plain = KINDS["llama"][0](), KINDS["llama"][0]()
    gates, oracle = attach_gates(model, by="module"), attach_gates(plain, by="module")
    assert len(gates) == 2 * BLOCKS
    call = torch.compile(model, backend=graphs)
    with torch._dynamo.config.patch(recompile_limit=8):
        for step in range(STEPS):
            mask = torch.rand(len(gates), generator=torch.Generator().manual_seed(step)) < 0.5
            mask[step % len(gates)] = True
            gates.train_with(mask), oracle.train_with(mask)
            assert_same(step_of(call, model, tokens(seed=step)), step_of(plain, plain, tokens(seed=step)))


def test_another_shape_of_the_batch_and_evaluation_need_graphs_of_their_own_and_no_more(graphs: Graphs) -> None:
    model = KINDS["llama"][0]()
    gates = attach_gates(model)
    call = torch.compile(model, backend=graphs)
    for step in range(STEPS):
        gates.train_with(random_mask(step))
        step_of(call, model, tokens(rows=2 + step % 2, seed=step))
        with torch.no_grad():
            torch.testing.assert_close(call.eval()(**tokens(seed=step)).logits, model(**tokens(seed=step)).logits)
    assert graphs.of_blocks() <= 2 * 4 + 2  # dropped or not, a gate is open in evaluation


def test_gates_may_come_after_the_model_was_compiled_and_may_go_again(graphs: Graphs) -> None:
    model, plain = KINDS["llama"][0](), KINDS["llama"][0]()
    call = torch.compile(model, backend=graphs)
    step_of(call, model, tokens())
    gates, oracle = attach_gates(model), attach_gates(plain)
    for step in range(4):
        gates.train_with(random_mask(step)), oracle.train_with(random_mask(step))
        assert_same(step_of(call, model, tokens(seed=step)), step_of(plain, plain, tokens(seed=step)))
    gates.detach(), oracle.detach()
    assert not any(map(is_compiled_alone, model.modules()))
    assert_same(step_of(call, model, tokens()), step_of(plain, plain, tokens()))


def test_after_adapters_were_merged_the_model_is_one_graph(graphs: Graphs) -> None:
    model = KINDS["llama"][0]()
    attach_gates(model)
    merged = model.merge_and_unload()
    with torch.no_grad():
        torch.compile(merged, backend=graphs)(**tokens())
    assert len(graphs) == 1
