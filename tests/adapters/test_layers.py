"""Which adapters gates rule: those that train, and no other."""

import peft
import pytest
import tiny_models as tiny
import torch
from torch import nn

from coto_lab import CoTo, Linear, LoRALinear, attach_gates

FIRST_ONLY = torch.tensor([True, False, False])


def stacked(trained="task"):
    """A Llama with two randomised adapters, both active, of which one trains."""
    model = tiny.adapted()
    model.add_adapter("task", tiny.config_of("LoRA"))
    model.base_model.set_adapter(["default", "task"])
    tiny.randomise(model, seed=1).eval()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(f".{trained}." in name)
    return model


@pytest.mark.parametrize("close", [False, True], ids=["dropped", "closed"])
def test_a_frozen_adapter_stays_where_the_one_that_trains_is_left_out(close):
    model, oracle = stacked(), stacked()
    oracle.base_model.set_adapter("default")
    whole, frozen_only = tiny.training_logits(model), tiny.training_logits(oracle)
    gates = attach_gates(model)
    gates.close(range(3)) if close else gates.train_with(torch.zeros(3, dtype=torch.bool))
    assert torch.equal(tiny.training_logits(model), frozen_only)
    assert torch.equal(tiny.logits(model.eval()), frozen_only if close else whole)
    assert not torch.equal(whole, frozen_only)
    assert {tuple(layer.active_adapters) for layer in gates.layers} == {("default", "task")}  # as before


def test_the_reference_of_preference_training_is_not_moved_by_gates():
    """TRL's way: a second adapter is switched to, without gradients or with them, and back."""
    model = tiny.adapted()
    model.add_adapter("reference", tiny.config_of("LoRA"))
    tiny.randomise(model)
    model.set_adapter("reference")
    reference = tiny.training_logits(model)
    model.set_adapter("default")
    gates = attach_gates(model.train())
    gates.train_with(FIRST_ONLY)
    dropped = tiny.training_logits(model)
    model.set_adapter("reference")
    assert torch.equal(tiny.logits(model.train()), reference)
    assert torch.equal(tiny.training_logits(model), reference)
    model.set_adapter("default")
    assert torch.equal(tiny.training_logits(model), dropped)
    assert not torch.equal(dropped, reference)
    assert gates.mask.tolist() == FIRST_ONLY.tolist()


def test_gates_sit_only_where_something_trains():
    model = peft.get_peft_model(tiny.llama(layers=4), tiny.lora(["q_proj"]), adapter_name="old")
    model.add_adapter("new", tiny.lora(["q_proj"], layers_to_transform=[2, 3]))
    model.set_adapter("new")
    gates = attach_gates(model.train())
    assert gates.names == ("model.layers.2", "model.layers.3")
    coto = CoTo(gates, Linear(), total_steps=40)
    for step in range(40):
        coto.go_to(step)
        assert model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss.requires_grad


def test_where_none_trains_gates_rule_the_active_ones():
    model = stacked(trained="none")
    base = tiny.logits(tiny.llama().eval())
    gates = attach_gates(model)
    gates.close(range(3))
    assert torch.equal(tiny.logits(model), base)
    gates.detach()
    model.base_model.set_adapter("default")
    model.requires_grad_(False)
    attach_gates(model).close(range(3))
    assert torch.equal(tiny.logits(model), base)


def test_a_frozen_layer_of_our_own_has_a_gate_only_where_none_trains():
    model = nn.ModuleList(LoRALinear(nn.Linear(4, 4), 1, 1) for _ in range(3))
    assert attach_gates(model).names == ("0", "1", "2")
    model = nn.ModuleList(LoRALinear(nn.Linear(4, 4), 1, 1) for _ in range(3))
    model[1].requires_grad_(False)
    assert attach_gates(model).names == ("0", "2")


def test_a_batch_of_mixed_adapters_keeps_those_that_no_gate_rules():
    model = tiny.adapted()
    model.add_adapter("second", tiny.config_of("LoRA"))
    tiny.randomise(model)
    gates = attach_gates(model.eval())
    names = ["default", "second"]
    with torch.no_grad():
        opened = model(tiny.TOKENS, adapter_names=names).logits
        gates.close(range(3))
        mixed = model(tiny.TOKENS, adapter_names=names).logits
    torch.testing.assert_close(mixed[0], tiny.logits(tiny.llama().eval())[0])
    torch.testing.assert_close(mixed[1], opened[1])
    assert not torch.allclose(mixed[0], opened[0])


@pytest.mark.parametrize("method", tiny.METHODS)
def test_zeroed_gradients_are_cleared_of_what_a_gate_rules_and_of_nothing_else(method):
    model = tiny.adapted(method)
    gates = attach_gates(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    tiny.gradients(model)
    bias = next(module for module in model.modules() if type(module) is nn.Linear).weight.requires_grad_(True)
    bias.grad = torch.zeros_like(bias)
    gates.train_with(torch.zeros(3, dtype=torch.bool))
    assert all(parameter.grad is None for parameter in parameters)
    assert bias.grad is not None
