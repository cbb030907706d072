"""Gates on every adapter method of the installed PEFT: shut is what PEFT's own switch gives, bit by bit."""

import re
import typing
import warnings
from dataclasses import fields

import peft
import pytest
import tiny_models as tiny
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft_methods import (
    ALL_SHARED,
    METHODS,
    NEW_BASE,
    NOT_ON_THIS_LLAMA,
    ONE_ADAPTER,
    REFUSED,
    WARNED,
    base,
    gradients,
    logits,
    model_of,
    two_adapters,
)

from coto_lab import attach_gates

BASE = tiny.logits(base())
every_method = pytest.mark.parametrize("method", METHODS)
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")  # FRoD


def gated(method, model):
    """The gates on ``model``; those methods warn that are meant to, and no others."""
    if method not in WARNED:
        return attach_gates(model)
    with pytest.warns(UserWarning) as caught:
        gates = attach_gates(model)
    assert all(re.search(WARNED[method], str(warning.message)) for warning in caught)
    assert len(caught) == WARNED[method].count("|") + 1
    return gates


def layers_of(model, block=None):
    """The adapter layers of one block, or of all."""
    return [
        module
        for name, module in model.named_modules()
        if isinstance(module, BaseTunerLayer) and (block is None or f"layers.{block}." in name)
    ]


def adapter_parameters(layers):
    return {
        id(parameter)
        for layer in layers
        for name, parameter in layer.named_parameters()
        if parameter.requires_grad and not name.startswith("base_layer.")
    }


def without_block(gates, block=1):
    mask = torch.ones(len(gates), dtype=torch.bool)
    mask[block] = False
    return mask


def check_gradients(method, gates, model):
    """None for what only block 1 has, and for nothing on other blocks alone."""
    dropped = layers_of(model, block=1)
    here, elsewhere = adapter_parameters(dropped), adapter_parameters(set(gates.layers).difference(dropped))
    absent = {id(parameter) for parameter in model.parameters() if parameter.requires_grad and parameter.grad is None}
    assert here - elsewhere <= absent <= here
    assert bool(absent) != (method in ALL_SHARED)


def equal(one, other):
    return (one is other is None) or (one is not None and other is not None and torch.equal(one, other))


# --- The table is complete -----------------------------------------------------------------------------------------------


def test_the_table_knows_every_method_of_peft():
    configs = [make() for make in METHODS.values()]
    known = {config.peft_type.value for config in configs} | {make().peft_type.value for make, _ in REFUSED.values()}
    assert known.isdisjoint(NOT_ON_THIS_LLAMA)
    assert {kind.value for kind in peft.PeftType} == known | {"XLORA"}


def test_the_table_knows_every_variant_of_lora():
    configs = [config for make in METHODS.values() if isinstance(config := make(), peft.LoraConfig)]
    variants = {field.name for field in fields(peft.LoraConfig) if field.metadata.get("is_lora_variant")}
    tried = {name for name in variants for config in configs if getattr(config, name)}
    assert variants == tried | (NOT_ON_THIS_LLAMA.keys() & variants) != set()
    hints = typing.get_args(typing.get_type_hints(peft.LoraConfig)["init_lora_weights"])
    starts = {start for hint in hints for start in typing.get_args(hint)}
    own = {config.init_lora_weights for config in configs}
    assert starts - {"pissa_niter_[number of iters]"} <= own | NOT_ON_THIS_LLAMA.keys()


@pytest.mark.parametrize("method", REFUSED)
def test_a_method_without_layers_of_its_own_is_refused_by_name(method):
    make, words = REFUSED[method]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = peft.get_peft_model(tiny.llama(), make())
    before = [type(module) for module in model.modules()]
    with pytest.raises(ValueError, match=words):
        attach_gates(model)
    assert [type(module) for module in model.modules()] == before


def test_x_lora_is_refused(tmp_path):
    for name in ("one", "two"):
        tiny.wrap(tiny.llama(), METHODS["LoRA"]()).save_pretrained(tmp_path / name)
    config = peft.XLoraConfig(
        task_type="CAUSAL_LM", hidden_size=16, adapters={name: str(tmp_path / name) for name in ("one", "two")}
    )
    model = peft.get_peft_model(tiny.llama(), config)
    with pytest.raises(ValueError, match="forward"):
        attach_gates(model)


# --- One adapter ---------------------------------------------------------------------------------------------------------


@every_method
def test_closed_is_the_base_and_open_is_as_before(method):
    model = model_of(method)
    opened = logits(method, model)
    gates = gated(method, model)
    gates.close(range(len(gates)))
    closed = logits(method, model)
    gates.open()
    for layer in gates.layers:
        layer._disable_adapters = True
    assert torch.equal(closed, logits(method, model))
    for layer in gates.layers:
        layer._disable_adapters = False
    assert torch.equal(logits(method, model), opened)
    assert not torch.equal(opened, closed)
    assert torch.equal(closed, BASE) != (method in NEW_BASE)


@every_method
def test_a_dropped_block_has_no_gradient_and_the_others_have_theirs(method):
    model, oracle = model_of(method), model_of(method)
    gates = gated(method, model)
    gates.train_with(without_block(gates))
    for layer in layers_of(oracle, block=1):
        layer._disable_adapters = True
    assert torch.equal(logits(method, model.train()), logits(method, oracle.train()))
    ours, theirs = gradients(method, model), gradients(method, oracle)
    assert all(equal(ours[name], theirs[name]) for name in ours)
    check_gradients(method, gates, model)


@every_method
def test_an_optimiser_leaves_the_dropped_block_alone(method):
    model = model_of(method)
    gates = gated(method, model)
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimiser = torch.optim.AdamW(trained.values(), lr=0.01, weight_decay=0.1)
    gradients(method, model)
    optimiser.step()  # from here on, the optimiser has momentum for every parameter
    gates.train_with(without_block(gates))
    before = {name: parameter.detach().clone() for name, parameter in trained.items()}
    for _ in range(2):
        ours = gradients(method, model)
        optimiser.step()
    for name, parameter in trained.items():
        assert torch.equal(parameter, before[name]) == (ours[name] is None), name


# --- Two adapters on every layer -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [method for method in METHODS if method not in ONE_ADAPTER])
def test_a_shut_gate_leaves_a_frozen_adapter_in_place(method):
    model, oracle = two_adapters(method), two_adapters(method)
    opened = logits(method, model)
    with warnings.catch_warnings():  # as above, but PEFT shares nothing between layers for a second Lily
        warnings.simplefilter("ignore")
        gates = attach_gates(model)
    gates.close(1)
    closed = logits(method, model)
    gates.open()
    gates.train_with(without_block(gates))
    dropped = logits(method, model.train())
    grads = gradients(method, model)
    for layer in layers_of(oracle, block=1):
        layer.set_adapter("frozen")
    assert torch.equal(closed, logits(method, oracle))
    assert not torch.equal(closed, opened)
    assert torch.equal(dropped, logits(method, oracle.train()))
    assert all(name.split(".").count("task") for name in grads)
    check_gradients(method, gates, model)
    gates.open()
    assert all(layer.active_adapters == ["frozen", "task"] for layer in gates.layers)
    assert torch.equal(logits(method, model.eval()), opened)
    for layer in layers_of(oracle):
        layer.set_adapter("frozen")
    gates.close(range(len(gates)))
    assert torch.equal(logits(method, model), logits(method, oracle.eval()))


def test_arrow_closes_its_router_and_with_it_the_experts():
    model = model_of("LoRA", "task_0")
    model.add_adapter("task_1", METHODS["LoRA"]())
    model.set_adapter("task_1")
    tiny.randomise(model, seed=1)
    arrow = peft.ArrowConfig(top_k=1, rng_seed=0)
    arrow.task_adapter_names, arrow.gks_adapter_names = ["task_0", "task_1"], []
    model.add_adapter("arrow_router", peft.LoraConfig(r=2, target_modules=tiny.TARGETS, arrow_config=arrow))
    model.set_adapter("arrow_router")
    opened = logits("Arrow", model.eval())
    assert not torch.equal(opened, BASE)
    gates = attach_gates(model)
    gates.close(range(len(gates)))
    assert torch.equal(logits("Arrow", model), BASE)
    gates.open()
    assert torch.equal(logits("Arrow", model), opened)
