"""Under torch.compile, the blocks of a class need four graphs at most, and masks and gradients are as without it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny_models as tiny
import torch
from torch import nn
from torch._dynamo.utils import counters
from transformers import Trainer, TrainerCallback, TrainingArguments

from coto_lab import CoToCallback, attach_gates

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


def test_shapes_and_evaluation_do_not_make_torch_give_up(graphs: Graphs) -> None:
    model, plain = KINDS["llama"][0](), KINDS["llama"][0]()
    gates, oracle = attach_gates(model), attach_gates(plain)
    call = torch.compile(model, backend=graphs)
    masks = torch.tensor([[False, True, False, True, False, True], [True, True, True, False, True, False]])  # all four graphs
    for rows in (4, 3, 1):
        for mask in masks:
            gates.train_with(mask)
            oracle.train_with(mask)
            assert_same(step_of(call, model, tokens(rows)), step_of(plain, plain, tokens(rows)))
        with torch.no_grad():
            torch.testing.assert_close(call.eval()(**tokens(rows)).logits, plain.eval()(**tokens(rows)).logits)
    assert graphs.of_blocks() > 8


def test_a_model_that_was_compiled_and_used_before_has_gates_that_work_and_come_off(graphs: Graphs) -> None:
    model, plain = KINDS["llama"][0](), KINDS["llama"][0]()
    call = torch.compile(model, backend=graphs)
    assert_same(step_of(call, model, tokens()), step_of(plain, plain, tokens()))
    for gated in (call, model):  # gates may be attached to the one or the other
        gates, oracle = attach_gates(gated), attach_gates(plain)
        assert gates.names == oracle.names
        for step in range(3):
            gates.train_with(random_mask(step))
            oracle.train_with(random_mask(step))
            assert_same(step_of(call, model, tokens()), step_of(plain, plain, tokens()))
        gates.detach()
        oracle.detach()
        assert not any(module._forward_pre_hooks for module in model.modules())
        assert_same(step_of(call, model, tokens()), step_of(plain, plain, tokens()))


def test_a_copy_is_compiled_by_block_too(graphs: Graphs) -> None:
    model = KINDS["llama"][0]()
    attach_gates(model)
    twin = copy.deepcopy(model)
    hooks = [[len(module._forward_pre_hooks) for module in each.modules()] for each in (model, twin)]
    assert hooks[0] == hooks[1] and sum(hooks[0]) == BLOCKS


def test_full_graphs_of_the_whole_model_are_refused_with_the_reason(graphs: Graphs) -> None:
    model = KINDS["llama"][0]().train()
    attach_gates(model)
    with pytest.raises(torch._dynamo.exc.Unsupported, match="each block compiled by itself, so leave out fullgraph=True"):
        torch.compile(model.get_base_model(), backend=graphs, fullgraph=True)(**tokens())


class Losses(TrainerCallback):
    """Notes the losses of a training and of its evaluations."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_log(self, args, state, control, logs, **_) -> None:  # type: ignore[no-untyped-def]
        self.seen += [value for key, value in logs.items() if key in ("loss", "eval_loss")]


@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
def test_a_trainer_that_compiles_trains_the_same_weights(tmp_path: Path, graphs: Graphs, checkpointing: bool) -> None:
    """Batches of four and of three, and an evaluation in every epoch."""
    rows = [{"input_ids": ids, "labels": ids} for ids in tokens(11)["input_ids"]]
    trained, losses = {}, {}
    for name, settings in {"plain": {}, "compiled": {"torch_compile": True, "torch_compile_backend": "eager"}}.items():
        model = KINDS["llama"][0]()
        args = TrainingArguments(
            tmp_path, num_train_epochs=3, per_device_train_batch_size=4, eval_strategy="epoch", logging_steps=1,
            save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True, gradient_checkpointing=checkpointing, **settings,
        )  # fmt: skip
        losses[name] = Losses()
        Trainer(
            model=model, args=args, train_dataset=rows, eval_dataset=rows[:4], callbacks=[CoToCallback(seed=1), losses[name]]
        ).train()
        trained[name] = model.state_dict()
    assert counters["stats"]["unique_graphs"] > 0
    torch.testing.assert_close(losses["compiled"].seen, losses["plain"].seen)
    for name, tensor in trained["plain"].items():
        torch.testing.assert_close(trained["compiled"][name], tensor)
