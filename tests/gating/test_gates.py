"""What a gate does to a model, for every PEFT method offered: real models, with PEFT and the bare base model as oracles."""

import pytest
import tiny_models as tiny
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from coto_lab import attach_gates, gates_of

MIDDLE_OFF = torch.tensor([True, False, True])
every_method = pytest.mark.parametrize("method", tiny.METHODS)


@pytest.fixture(scope="module")
def base():
    """Output of the tiny Llama without adapters."""
    return tiny.logits(tiny.llama().eval())


def of_block(names, block):
    return {name for name in names if f"layers.{block}." in name}


def close_as_peft_does(model, block):
    """PEFT's private switch: the oracle for a shut gate."""
    for name, module in model.named_modules():
        if isinstance(module, BaseTunerLayer) and f"layers.{block}." in name:
            module._disable_adapters = True


# --- Shut, dropped, open -------------------------------------------------------------------------------------------------


@every_method
def test_all_closed_is_the_base_model_and_reopening_is_the_former_output_bitwise(method, base):
    model = tiny.adapted(method)
    opened = tiny.logits(model)
    gates = attach_gates(model)
    assert torch.equal(tiny.logits(model), opened)
    gates.close(range(3))
    assert torch.equal(tiny.logits(model), base)
    gates.open()
    assert torch.equal(tiny.logits(model), opened)
    assert not torch.equal(opened, base)


@every_method
def test_a_dropped_block_equals_pefts_own_switch_in_output_and_gradients(method):
    model, oracle = tiny.adapted(method), tiny.adapted(method)
    attach_gates(model).train_with(MIDDLE_OFF)
    close_as_peft_does(oracle, block=1)
    ours, theirs = tiny.gradients(model), tiny.gradients(oracle)
    assert torch.equal(tiny.training_logits(model), tiny.training_logits(oracle))
    assert {name for name, grad in ours.items() if grad is None} == of_block(ours, 1) != set()
    assert all(torch.equal(ours[name], theirs[name]) for name in set(ours) - of_block(ours, 1))


@every_method
def test_an_optimiser_neither_moves_nor_decays_nor_counts_a_dropped_adapter(method):
    model = tiny.adapted(method)
    gates = attach_gates(model)
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1, weight_decay=0.1)
    gates.train_with(MIDDLE_OFF)
    for _ in range(2):
        tiny.gradients(model)
        optimizer.step()
    unmoved = {name for name, parameter in parameters.items() if torch.equal(parameter, before[name])}
    assert unmoved == of_block(parameters, 1)
    assert {name for name, parameter in parameters.items() if parameter not in optimizer.state} == unmoved


@every_method
def test_zeroed_gradients_do_not_let_old_momentum_move_a_dropped_adapter(method):
    model = tiny.adapted(method)
    gates = attach_gates(model)
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1, weight_decay=0.1)
    tiny.gradients(model)
    optimizer.step()  # now every adapter has momentum
    optimizer.zero_grad(set_to_none=False)
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    assert all(parameter.grad is not None for parameter in parameters.values())
    gates.train_with(MIDDLE_OFF)
    model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss.backward()
    optimizer.step()
    assert {name for name, value in parameters.items() if torch.equal(value, before[name])} == of_block(parameters, 1)
    assert {int(optimizer.state[parameters[name]]["step"]) for name in of_block(parameters, 1)} == {1}


@every_method
def test_a_dropped_gate_holds_in_training_only_and_a_closed_one_in_both_modes(method):
    model = tiny.adapted(method)  # no dropout: the two modes compute the same
    opened = tiny.logits(model)
    gates = attach_gates(model)
    gates.close(1)
    closed = tiny.logits(model)
    assert torch.equal(tiny.logits(model.train()), closed)
    gates.open()
    gates.train_with(MIDDLE_OFF)
    assert torch.equal(tiny.training_logits(model), closed)
    assert gates.mask.tolist() == [True, False, True]
    assert torch.equal(tiny.logits(model), opened)  # without gradients nothing trains, whatever the mode
    with torch.no_grad():
        assert gates.mask.tolist() == [True, True, True]
    assert torch.equal(tiny.logits(model.eval()), opened)
    assert gates.mask.tolist() == [True, True, True]
    assert not torch.equal(opened, closed)


@every_method
def test_disable_adapter_within_a_step_is_the_base_model_and_leaves_the_gates(method, base):
    model = tiny.adapted(method).train()
    gates = attach_gates(model)
    gates.train_with(MIDDLE_OFF)
    before = tiny.training_logits(model)
    with model.disable_adapter():
        assert torch.equal(tiny.training_logits(model), base)
        assert torch.equal(tiny.logits(model), base)
    assert torch.equal(tiny.training_logits(model), before)
    assert gates.mask.tolist() == [True, False, True]


@every_method
@pytest.mark.filterwarnings("ignore:Unmerge result can be inaccurate for .IA.:UserWarning")
def test_a_shut_gate_on_a_merged_adapter_raises_instead_of_computing_the_merged_layer(method, base):
    model = tiny.adapted(method)
    gates = attach_gates(model)
    gates.close(range(3))
    model.merge_adapter()
    message = r"'model\.layers\.0' cannot be shut: the adapter \['default'\].*unmerge_adapter"
    with pytest.raises(RuntimeError, match=message):
        model(tiny.TOKENS)
    gates.open()
    for switch in (gates.close, gates.only([0]).__enter__, lambda: gates.train_with(torch.zeros(3, dtype=torch.bool))):
        with pytest.raises(RuntimeError, match=message.replace("0", r"\d")):
            switch(range(3)) if switch == gates.close else switch()
        assert gates.mask.all()
    model.unmerge_adapter()
    gates.close(range(3))
    torch.testing.assert_close(tiny.logits(model), base)  # unmerging rounds


def test_a_shut_gate_holds_in_a_batch_of_mixed_adapters(base):
    model = tiny.adapted()
    attach_gates(model).close(1)
    closed = tiny.logits(model)
    with torch.no_grad():  # PEFT hands adapter_names to every adapter layer; base layers do not know it
        mixed = model(tiny.TOKENS, adapter_names=["default", "__base__"]).logits
    torch.testing.assert_close(mixed, torch.stack([closed[0], base[1]]))


def test_a_second_adapter_in_a_batch_of_mixed_adapters_keeps_the_blocks_that_a_gate_of_the_first_shuts():
    model = tiny.adapted()
    attach_gates(model).close(1)
    closed = tiny.logits(model)
    model.add_adapter("second", tiny.config_of("LoRA"))
    model.set_adapter("second")
    second = tiny.logits(tiny.randomise(model, seed=1))
    model.set_adapter("default")
    with torch.no_grad():
        mixed = model(tiny.TOKENS, adapter_names=["default", "second"]).logits
    torch.testing.assert_close(mixed, torch.stack([closed[0], second[1]]))


def test_a_newer_training_mask_replaces_the_older_one():
    model = tiny.adapted().train()
    gates = attach_gates(model)
    gates.train_with(MIDDLE_OFF)
    gates.train_with(~MIDDLE_OFF)
    assert gates.mask.tolist() == [False, True, False]


def test_only_closes_the_others_and_restores_everything_even_after_an_exception():
    model = tiny.adapted().train()
    gates = attach_gates(model)
    gates.train_with(torch.tensor([False, True, True]))
    gates.close(2)
    with pytest.raises(KeyError), gates.only("model.layers.0"):
        assert gates.mask.tolist() == [True, False, False]
        with gates.only([]):
            assert not gates.mask.any()
        assert gates.mask.tolist() == [True, False, False]
        raise KeyError
    assert gates.mask.tolist() == [False, True, False]
    gates.open()
    assert gates.mask.all()


def test_gates_describe_what_they_hold():
    model = tiny.adapted()
    gates = attach_gates(model)
    assert len(gates) == 3
    assert gates.names == gates.blocks == ("model.layers.0", "model.layers.1", "model.layers.2")
    assert gates.modules == tuple(f"model.layers.{i}.self_attn.{name}" for i in range(3) for name in ("q_proj", "v_proj"))
    assert gates.gate_of_module.tolist() == [0, 0, 1, 1, 2, 2]
    inner = model.get_base_model()
    assert all(inner.get_submodule(name) is layer for name, layer in zip(gates.modules, gates.layers, strict=True))
    assert gates.towers.tolist() == [0, 0, 0]
    gates.close(0)
    assert repr(gates) == "Gates(3, open: 2, names: model.layers.0 ... model.layers.2)"


def test_printed_gates_are_a_tree_of_what_was_found():
    config = tiny.lora(r".*(layers\.\d\.self_attn\.[qv]_proj|layers\.[23]\.mlp\.up_proj)")
    gates = attach_gates(tiny.wrap(tiny.llama(layers=4), config))
    gates.close(0)
    assert str(gates).splitlines() == [
        "4 gates, 3 open",
        "model.layers",
        "    0 ... 1 (2): self_attn.q_proj, self_attn.v_proj",
        "    2 ... 3 (2): self_attn.q_proj, self_attn.v_proj, mlp.up_proj",
    ]
    gates = attach_gates(tiny.wrap(tiny.t5(encoder=1, decoder=2), tiny.lora(["q"])))
    assert str(gates).splitlines() == [
        "3 gates, 3 open",
        "encoder.block",
        "    0: layer.0.SelfAttention.q",
        "decoder.block",
        "    0 ... 1 (2): layer.0.SelfAttention.q, layer.1.EncDecAttention.q",
    ]
    gates.detach()
    assert str(gates).startswith("3 gates, no longer in use: they were detached") and repr(gates).startswith(
        "Gates(3, no longer in use,"
    )


def test_gates_by_module_switch_single_layers():
    model, oracle = tiny.adapted(), tiny.adapted()
    gates = attach_gates(model, by="module")
    assert gates.names == gates.modules
    assert gates.blocks == tuple(f"model.layers.{i // 2}" for i in range(6))
    assert gates.gate_of_module.tolist() == list(range(6))
    gates.close("model.layers.1.self_attn.v_proj")
    oracle.get_base_model().model.layers[1].self_attn.v_proj._disable_adapters = True
    assert torch.equal(tiny.logits(model), tiny.logits(oracle))


def test_layers_that_stay_open_are_warned_of_unless_a_function_chose_them():
    def model():
        return tiny.wrap(tiny.llama(), tiny.lora(["q_proj", "up_proj", "lm_head"]))

    attention = type(tiny.llama().model.layers[0].self_attn)
    for by, outside in (("block", r"\(1\): lm_head"), (attention, r"\(4\): model\.layers\.0\.mlp\.up_proj, .*, lm_head")):
        with pytest.warns(UserWarning, match=rf"outside of all blocks, which stay open {outside}") as seen:
            gates = attach_gates(model(), by=by)
        assert [warning.filename for warning in seen if warning.category is UserWarning] == [__file__] and len(gates) == 3
    assert len(attach_gates(model(), by=lambda name: "first" if ".0." in name else None)) == 1  # a warning is an error here


def test_a_model_without_gates_has_none_to_hand_out():
    with pytest.raises(ValueError, match="this model carries no gates; call attach_gates"):
        gates_of(tiny.adapted())
