"""Handles that outlive their gates, and what begins to train after they were attached."""

import pytest
import tiny_models as tiny
import torch

from coto_lab import Constant, CoTo, attach_gates, gates_of

MIDDLE_OFF = torch.tensor([True, False, True])


def deleted(model):
    model.add_adapter("second", tiny.config_of("LoRA"))
    model.set_adapter("second")
    model.delete_adapter("default")


def switched(model):
    model.add_adapter("second", tiny.config_of("LoRA"))
    model.set_adapter("second")


def added(model):
    model.add_adapter("second", tiny.lora(["up_proj"]))  # on other layers than the gates
    model.base_model.set_adapter(["default", "second"])


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda model: gates_of(model).detach(), "they were detached"),
        (lambda model: model.merge_and_unload(), r"'model\.layers\.0\.self_attn\.q_proj' is no longer a layer of the model"),
        (lambda model: model.unload(), "is no longer a layer of the model"),
        (deleted, "they rule the adapter 'default', but the active one is 'second'"),
        (switched, "they rule the adapter 'default', but the active one is 'second'.*model.set_adapter"),
        (added, r"the adapter 'second' trains without a gate by now \(on 3 layers, first 'model\.layers\.0\..*attach_gates"),
    ],
    ids=["detached", "merged and unloaded", "unloaded", "deleted", "switched", "added"],
)
def test_a_handle_does_not_outlive_its_gates(end, message):
    model = tiny.adapted()
    gates = attach_gates(model)
    coto = CoTo(gates, Constant(0.5), total_steps=9)
    tiny.gradients(model)
    before = {name: parameter.grad for name, parameter in model.named_parameters()}
    end(model)
    verbs = {
        "mask": lambda: gates.mask,
        "close": lambda: gates.close(0),
        "open": gates.open,
        "only": lambda: gates.only([]).__enter__(),
        "train_with": lambda: gates.train_with(MIDDLE_OFF),
        "step": coto.step,
    }
    for verb in verbs.values():
        with pytest.raises(RuntimeError, match=f"no longer in use: .*{message}"):
            verb()
    assert all(parameter.grad is before[name] for name, parameter in model.named_parameters() if name in before)
    assert coto.masks().shape == (9, 3)  # the plan is still known
    assert coto.current_step == 0
    gates.detach()


def test_gates_work_again_after_switching_back_and_beside_an_adapter_that_does_not_train():
    model = tiny.adapted()
    gates = attach_gates(model)
    switched(model)
    model.set_adapter("default")
    gates.close(0)
    model.base_model.set_adapter(["default", "second"])
    for name, parameter in model.named_parameters():
        if ".second." in name:
            parameter.requires_grad_(False)
    gates.open()
    assert gates.mask.all()


def test_an_old_handle_does_not_take_off_the_gates_of_a_newer_one():
    model = tiny.adapted()
    old = attach_gates(model)
    old.detach()
    new = attach_gates(model)
    old.detach()
    assert new.mask.all()


@pytest.mark.parametrize("how", ["unfrozen", "unfrozen beside", "added under the same name"])
def test_what_begins_to_train_later_is_noticed(how):
    model = tiny.adapted()
    if how == "unfrozen beside":
        model.add_adapter("second", tiny.config_of("LoRA"))
        model.base_model.set_adapter(["default", "second"])
    late = {"unfrozen": ".layers.0.", "unfrozen beside": ".second."}.get(how, "nothing")
    adapter = [(name, parameter) for name, parameter in model.named_parameters() if "lora_" in name]
    for name, parameter in adapter:
        parameter.requires_grad_(late not in name)
    gates = attach_gates(model)
    assert gates.mask.all()
    if how == "added under the same name":
        model.delete_adapter("default")
        model.add_adapter("default", tiny.lora(["q_proj", "k_proj"]))
        model.set_adapter("default")
    for _, parameter in adapter:
        parameter.requires_grad_(True)
    with pytest.raises(RuntimeError, match="trains without a gate by now"):
        gates.train_with(torch.zeros(len(gates), dtype=torch.bool))
