"""What the swapped class must survive: copying, saving, merging, hooks, checkpointing and compiling, with real models."""

import copy
import io
import pickle

import peft
import pytest
import tiny_models as tiny
import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from torch import nn

from coto_lab import LoRALinear, attach_gates, gates_of

MIDDLE_OFF = torch.tensor([True, False, True])
every_method = pytest.mark.parametrize("method", tiny.METHODS)


@pytest.fixture(scope="module")
def base():
    """Output of the tiny Llama without adapters."""
    return tiny.logits(tiny.llama().eval())


def of_block(names, block):
    return {name for name in names if f"layers.{block}." in name}


def classes(model):
    return [type(module) for module in model.modules()]


# --- The model stays what it was -----------------------------------------------------------------------------------------


@every_method
def test_attaching_keeps_keys_and_types_and_detaching_restores_the_classes(method):
    model = tiny.adapted(method)
    opened, before, keys = tiny.logits(model), classes(model), list(model.state_dict())
    gates = attach_gates(model)
    gates.close(range(3))
    assert list(model.state_dict()) == keys
    assert all(isinstance(now, cls) and repr(now) for now, cls in zip(model.modules(), before, strict=True))
    gates.detach()
    gates.detach()  # once more does nothing
    assert classes(model) == before
    assert list(model.state_dict()) == keys
    assert not any("_coto_gate" in vars(module) for module in model.modules())
    assert torch.equal(tiny.logits(model), opened)
    attach_gates(model)  # and gates can go on again


@every_method
@pytest.mark.parametrize("how", ["deepcopy", "pickle", "torch.save"])
def test_a_copy_keeps_its_state_and_has_gates_of_its_own(method, how):
    model = tiny.adapted(method)
    gates = attach_gates(model)
    opened = tiny.logits(model)
    gates.close(1)
    closed = tiny.logits(model)
    if how == "deepcopy":
        twin = copy.deepcopy(model)
    elif how == "pickle":
        twin = pickle.loads(pickle.dumps(model))
    else:
        torch.save(model, buffer := io.BytesIO())
        buffer.seek(0)
        twin = torch.load(buffer, weights_only=False)
    own = gates_of(twin)
    assert (own.names, own.modules, own.blocks) == (gates.names, gates.modules, gates.blocks)
    assert own.mask.tolist() == [True, False, True]
    assert torch.equal(tiny.logits(twin), closed)
    own.open()
    assert torch.equal(tiny.logits(twin), opened)
    assert torch.equal(tiny.logits(model), closed)
    own.detach()
    assert classes(twin) != classes(model)


def test_gates_of_switches_the_same_gates():
    model = tiny.adapted()
    gates = attach_gates(model, by="module")
    gates_of(model).close(4)
    assert gates.mask.tolist() == [True] * 4 + [False, True]
    gates.detach()
    with pytest.raises(ValueError, match="carries no gates"):
        gates_of(model)


@every_method
def test_saving_while_gated_stores_the_whole_adapter(method, tmp_path):
    model = tiny.adapted(method)
    opened = tiny.logits(model)
    gates = attach_gates(model)
    gates.close(range(3))
    model.save_pretrained(tmp_path)
    assert torch.equal(tiny.logits(peft.PeftModel.from_pretrained(tiny.llama(), tmp_path).eval()), opened)


@every_method
@pytest.mark.parametrize("detached", [False, True], ids=["gated", "detached"])
def test_merge_and_unload_is_as_without_gates(method, detached):
    model = tiny.adapted(method)
    gates = attach_gates(model)
    gates.close(1)
    if detached:
        gates.detach()
    merged = model.merge_and_unload()
    oracle = tiny.adapted(method).merge_and_unload()
    assert classes(merged) == classes(oracle)
    assert torch.equal(tiny.logits(merged), tiny.logits(oracle))


@every_method
def test_adapters_can_be_added_and_deleted_while_gated(method, base):
    model = tiny.adapted(method)
    gates = attach_gates(model)
    model.add_adapter("second", tiny.config_of(method))
    model.set_adapter("second")
    tiny.randomise(model.eval(), seed=1)
    oracle = tiny.adapted(method)
    oracle.add_adapter("second", tiny.config_of(method))
    oracle.set_adapter("second")
    tiny.randomise(oracle.eval(), seed=1)
    model.load_state_dict(oracle.state_dict())  # the fresh adapters were drawn from a moving global RNG
    second = tiny.logits(oracle)
    assert torch.equal(tiny.logits(model), second)
    model.delete_adapter("default")
    assert torch.equal(tiny.logits(model), second)
    gates.detach()
    attach_gates(model).close(range(3))
    assert torch.equal(tiny.logits(model), base)
    assert not torch.equal(second, base)


def test_hooks_added_later_work_and_must_come_off_before_detaching(base):
    model = tiny.adapted()
    before, opened = classes(model), tiny.logits(model)
    gates = attach_gates(model)
    for layer in gates.layers:
        add_hook_to_module(layer, ModelHook())
    gates.close(range(3))
    assert torch.equal(tiny.logits(model), base)
    with pytest.raises(ValueError, match="remove them before detaching"):
        gates.detach()
    remove_hook_from_module(model, recurse=True)
    gates.detach()
    assert classes(model) == before
    assert torch.equal(tiny.logits(model), opened)


# --- Arguments of the layer ------------------------------------------------------------------------------------------------


class Scaled(nn.Linear):
    """A base layer with a keyword of its own."""

    def forward(self, x, scale=1.0):
        return super().forward(x) * scale


class Anything(nn.Linear):
    """A base layer that hands on what it gets to a strict function."""

    def forward(self, x, **settings):
        return self.scaled(super().forward(x), **settings)

    @staticmethod
    def scaled(y, scale=1.0):
        return y * scale


@pytest.mark.parametrize("kind", [Scaled, Anything])
def test_arguments_that_only_a_peft_layer_knows_do_not_reach_the_base_layer(kind):
    torch.manual_seed(0)
    blocks = nn.ModuleList(nn.ModuleDict({"up": kind(4, 4)}) for _ in range(2))
    base = copy.deepcopy(blocks)
    model = tiny.randomise(peft.inject_adapter_in_model(tiny.lora(["up"]), nn.ModuleDict({"blocks": blocks})))
    gates = attach_gates(model)
    x = torch.randn(3, 4)
    layer = model["blocks"][0]["up"]
    opened = layer(x, scale=2.0, alora_offsets=None)
    gates.close(0)
    assert torch.equal(layer(x, scale=2.0, alora_offsets=None), base[0]["up"](x, scale=2.0))
    assert torch.equal(layer(x, scale=2.0, adapter_names=["__base__"] * 3), base[0]["up"](x, scale=2.0))
    assert torch.equal(layer(x=x, scale=2.0), base[0]["up"](x, scale=2.0))  # a base layer may call its input otherwise
    gates.open()
    assert torch.equal(layer(x, scale=2.0, alora_offsets=None), opened)
    assert not torch.equal(opened, base[0]["up"](x, scale=2.0))


# --- Our own layer, and torch.compile ------------------------------------------------------------------------------------


def test_models_made_of_our_own_layer_are_gated_too():
    torch.manual_seed(0)
    plain = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)))
    model = tiny.randomise(nn.Sequential(*(LoRALinear(copy.deepcopy(layer), r=2, alpha=4) for layer in plain)))
    x = torch.randn(5, 4)
    opened = model(x)
    gates = attach_gates(model)
    assert gates.names == ("0", "1", "2")
    gates.close(range(3))
    assert torch.equal(model(x), plain(x))
    gates.open()
    assert torch.equal(model(x), opened)
    gates.train_with(MIDDLE_OFF)
    model(x).sum().backward()
    assert [layer.lora_A.grad is None for layer in model] == [False, True, False]
    assert torch.equal(copy.deepcopy(model).eval()(x), opened)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # dynamo looks at it
def test_compiled_blocks_need_at_most_four_graphs_for_all_patterns():
    torch._dynamo.reset()
    graphs = []

    def counting_eager(graph, inputs):
        graphs.append(graph)
        return graph.forward

    model, plain = tiny.adapted(model=tiny.llama(layers=4)).train(), tiny.adapted(model=tiny.llama(layers=4)).train()
    gates, oracle = attach_gates(model), attach_gates(plain)
    for block in model.get_base_model().model.layers:
        block.compile(backend=counting_eager)
    for pattern in range(1, 16):  # every one that leaves a gate open; more than dynamo's limit of 8 recompilations
        mask = torch.tensor([bool(pattern >> i & 1) for i in range(4)])
        gates.train_with(mask)
        oracle.train_with(mask)
        ours, theirs = tiny.gradients(model), tiny.gradients(plain)
        assert [grad is None for grad in ours.values()] == [grad is None for grad in theirs.values()]
        for one, other in zip(ours.values(), theirs.values(), strict=True):
            torch.testing.assert_close(one, other)
    assert 2 <= len(graphs) <= 4
