"""Which layers share a gate; ``test_architectures`` has more models, and what lies outside of their blocks."""

import re

import peft
import pytest
import tiny_models as tiny
import torch
from tiny_models import grouped, lora
from torch import nn

from coto_lab import attach_gates
from coto_lab.gating.grouping import Group


def llama_blocks(*indices):
    return [f"model.layers.{i}" for i in indices]


# --- Grouping ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "targets", "blocks"),
    [
        (tiny.vit, ["q_proj", "v_proj"], [f"vit.layers.{i}" for i in range(3)]),
        (tiny.bert, ["query", "value"], [f"bert.encoder.layer.{i}" for i in range(3)]),
        (tiny.t5, ["q", "v"], [f"encoder.block.{i}" for i in range(2)] + [f"decoder.block.{i}" for i in range(3)]),
        (tiny.swin, ["q_proj"], ["encoder.layers.0.blocks.0", "encoder.layers.1.blocks.0", "encoder.layers.1.blocks.1"]),
        (lambda: tiny.llama(layers=12), ["q_proj"], llama_blocks(*range(12))),
    ],
    ids=["ViT", "BERT", "T5", "Swin", "twelve layers"],
)
def test_every_block_of_every_stack_has_one_gate_in_the_models_order(make, targets, blocks):
    assert list(grouped(tiny.wrap(make(), lora(targets)))) == blocks


def test_gpt2_has_one_gate_per_h():
    model = tiny.wrap(tiny.gpt2(), lora(["c_attn"], fan_in_fan_out=True))
    assert grouped(model) == {"transformer.h.0": ["attn.c_attn"], "transformer.h.1": ["attn.c_attn"]}


@pytest.mark.parametrize(
    ("targets", "settings", "groups"),
    [
        (
            r".*\.(0\.self_attn\.[qv]_proj|2\.mlp\.up_proj)",
            {},
            {"model.layers.0": ["self_attn.q_proj", "self_attn.v_proj"], "model.layers.2": ["mlp.up_proj"]},
        ),
        (["q_proj"], {"layers_to_transform": [2, 1]}, {name: ["self_attn.q_proj"] for name in llama_blocks(1, 2)}),
        (
            "all-linear",
            {},
            {
                name: [f"self_attn.{x}_proj" for x in "qkvo"] + [f"mlp.{x}_proj" for x in ("gate", "up", "down")]
                for name in llama_blocks(0, 1, 2)
            },
        ),
    ],
    ids=["regular expression, uneven", "layers_to_transform", "all-linear"],
)
def test_any_choice_of_targets_groups_by_block(targets, settings, groups):
    assert grouped(tiny.wrap(tiny.llama(), lora(targets, **settings))) == groups


def test_t5_can_lose_one_block_of_one_stack():
    tokens = {"input_ids": tiny.TOKENS, "decoder_input_ids": tiny.TOKENS}
    base = tiny.t5().eval()
    model = tiny.wrap(tiny.t5(), lora(["q", "v"]))
    gates = attach_gates(model)
    with torch.no_grad():
        encoded = model.get_encoder()(tiny.TOKENS).last_hidden_state
        opened, plain = model(**tokens).logits, base(**tokens).logits
        with gates.only(["encoder.block.0", "encoder.block.1"]):  # the encoder keeps its adapter, the decoder has none
            assert torch.equal(model.get_encoder()(tiny.TOKENS).last_hidden_state, encoded)
            half = model(**tokens).logits
        with gates.only([]):
            assert torch.equal(model(**tokens).logits, plain)
    assert not torch.equal(half, opened)
    assert not torch.equal(half, plain)


def test_multihead_attention_has_one_gate_and_closed_is_the_base_bitwise():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 2, 24, dropout=0.0, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False).requires_grad_(False)
    encoder.train()  # in evaluation, torch's fast path reads the base weights and no adapter at all
    x = torch.randn(2, 5, 16)
    base = encoder(x)
    model = tiny.wrap(encoder, lora(["self_attn"])).train()
    gates = attach_gates(model, by="module")
    assert gates.names == gates.modules == ("layers.0.self_attn", "layers.1.self_attn")
    gates.close([0, 1])
    assert torch.equal(model(x), base)
    gates.open()
    gates.train_with(torch.tensor([False, True]))
    output = model(x)
    assert not torch.equal(output, base)
    output.square().sum().backward()
    grads = {name: parameter.grad for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name, grad in grads.items() if grad is None} == {name for name in grads if ".layers.0." in name} != set()


def test_a_head_in_modules_to_save_has_no_gate_and_keeps_training():
    model = tiny.wrap(tiny.bert(), lora(["query"], modules_to_save=["classifier"])).train()
    gates = attach_gates(model)
    gates.close(range(len(gates)))
    model(input_ids=tiny.TOKENS, labels=torch.tensor([0, 1])).loss.backward()
    trained = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert trained == {f"base_model.model.classifier.modules_to_save.default.{name}" for name in ("weight", "bias")}


def test_trainable_tokens_are_left_out():
    config = lora(["q_proj"], trainable_token_indices={"embed_tokens": [0, 1]})
    model = tiny.wrap(tiny.llama(), config).train()
    gates = attach_gates(model)
    assert gates.modules == tuple(f"{name}.self_attn.q_proj" for name in llama_blocks(0, 1, 2))
    gates.close(range(3))
    grads = tiny.gradients(model)
    assert [name for name, grad in grads.items() if grad is not None] == [
        "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta.default"
    ]


def test_a_tied_embedding_and_head_share_one_gate_so_that_both_stand_still():
    model = tiny.wrap(tiny.llama(tie_word_embeddings=True), lora(["embed_tokens", "q_proj"], ensure_weight_tying=True))
    q = [f"{name}.self_attn.q_proj" for name in llama_blocks(0, 1, 2)]
    gates = attach_gates(model, by="module")
    assert gates.names == ("model.embed_tokens", *q)
    assert gates.modules == ("model.embed_tokens", "lm_head", *q)
    parameters = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    before = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    optimizer = torch.optim.AdamW(parameters.values(), lr=0.1, weight_decay=0.1)
    gates.train_with(torch.tensor([False, True, True, True]))
    tiny.gradients(model)
    optimizer.step()
    moved = {name for name, parameter in parameters.items() if not torch.equal(parameter, before[name])}
    assert moved == {name for name in parameters if "q_proj" in name}


def test_tied_base_weights_with_untied_adapters_keep_two_gates():
    with pytest.warns(UserWarning, match="ensure_weight_tying"):
        model = tiny.wrap(tiny.llama(tie_word_embeddings=True), lora(["embed_tokens", "lm_head"]))
    assert list(grouped(model, by="module")) == ["model.embed_tokens", "lm_head"]


def test_model_add_adapter_of_transformers_is_gated_like_a_peft_model():
    base, model = tiny.llama().eval(), tiny.llama()
    model.add_adapter(lora(tiny.TARGETS))
    tiny.randomise(model).eval()
    opened = tiny.logits(model)
    gates = attach_gates(model)
    assert list(gates.names) == llama_blocks(0, 1, 2)
    gates.close(range(3))
    assert torch.equal(tiny.logits(model), tiny.logits(base))
    gates.detach()
    assert torch.equal(tiny.logits(model), opened)


def test_adapters_of_two_methods_stacked_on_one_layer_share_its_gate():
    model = peft.get_peft_model(tiny.llama(), tiny.config_of("LoRA"), mixed=True)
    model.add_adapter("second", tiny.config_of("LoHa"))
    model.set_adapter(["default", "second"])
    tiny.randomise(model).eval()
    gates = attach_gates(model)
    assert list(gates.names) == llama_blocks(0, 1, 2)
    opened = tiny.logits(model)
    gates.close(range(3))
    base = tiny.logits(tiny.llama().eval())
    assert torch.equal(tiny.logits(model), base)
    assert not torch.equal(opened, base)


def test_a_function_says_which_layers_share_a_gate():
    groups = grouped(tiny.adapted(), by=lambda name: None if ".0." in name else name.rpartition(".")[2])
    assert groups == {kind: [f"model.layers.{i}.self_attn.{kind}" for i in (1, 2)] for kind in ("q_proj", "v_proj")}


@pytest.mark.parametrize("as_tuple", [False, True])
def test_a_class_says_what_a_block_is(as_tuple):
    model = tiny.adapted()
    kind = type(model.get_base_model().model.layers[0].self_attn)
    groups = grouped(model, by=(nn.LSTM, kind) if as_tuple else kind)
    assert groups == {f"{name}.self_attn": ["q_proj", "v_proj"] for name in llama_blocks(0, 1, 2)}


@pytest.mark.parametrize("by", ["layer", 3, None, (), (nn.Linear, "x")], ids=str)
def test_an_unknown_by_is_named(by):
    with pytest.raises(
        ValueError, match=rf"by={re.escape(repr(by))} is not known; use 'block'.*'module', a module class or a tuple"
    ):
        attach_gates(tiny.adapted(), by=by)


def test_a_function_that_returns_something_else_than_names_is_told():
    with pytest.raises(ValueError, match=r"by\('model\.layers\.0\.self_attn\.q_proj'\) returned 0; it must return the name"):
        attach_gates(tiny.adapted(), by=lambda name: int(name.split(".")[2]))
    with pytest.raises(ValueError, match="none of the 6 adapter layers gets a gate"):
        attach_gates(tiny.adapted(), by=lambda name: None)
    with pytest.raises(ValueError, match="none of the 6 adapter layers gets a gate"):
        attach_gates(tiny.adapted(), by=nn.TransformerEncoderLayer)
    with pytest.raises(ValueError, match=r"by\('model\.layers\.0\.self_attn\.q_proj'\) returned ''; it must return the name"):
        attach_gates(tiny.adapted(), by=lambda name: "")


@pytest.mark.parametrize(
    ("blocks", "targets", "end"),
    [
        (4, ["q_proj", "v_proj"], r"3\.self_attn\.v_proj\. Give"),
        (3, ["q_proj", "k_proj", "v_proj"], r"2\.self_attn\.k_proj, \.\.\.\. Give"),
    ],
    ids=["eight", "nine"],
)
def test_at_most_eight_layers_without_a_gate_are_named(blocks, targets, end):
    with pytest.raises(
        ValueError, match=rf"none of the {len(targets) * blocks} adapter layers .*: model\.layers\.0.*layers\.{end}"
    ):
        attach_gates(tiny.wrap(tiny.llama(blocks), lora(targets)), by=lambda name: None)


# --- Blocks and towers of gates ------------------------------------------------------------------------------------------


def test_gates_of_one_tower_and_of_two():
    assert attach_gates(tiny.adapted()).towers.tolist() == [0, 0, 0]
    assert attach_gates(tiny.wrap(tiny.t5(), lora(["q"]))).towers.tolist() == [0, 0, 1, 1, 1]


@pytest.mark.filterwarnings("ignore:Model has .tie_word_embeddings:UserWarning")
def test_a_layer_on_no_block_is_in_no_tower_where_there_are_two_and_its_own_block():
    gates = attach_gates(tiny.wrap(tiny.t5(), lora(["wi", "lm_head"])), by="module")
    assert gates.towers.tolist() == [0, 0, 1, 1, 1, -1]
    assert gates.blocks == (*(f"{name}.block.{i}" for name, n in (("encoder", 2), ("decoder", 3)) for i in range(n)), "lm_head")
    gates = attach_gates(tiny.wrap(tiny.llama(), lora(["up_proj", "lm_head"])), by="module")
    assert gates.towers.tolist() == [0, 0, 0, 0] and gates.blocks == (*llama_blocks(0, 1, 2), "lm_head")


def test_a_gate_that_a_function_names_is_its_own_block():
    gates = attach_gates(tiny.adapted(), by=lambda name: name.rpartition(".")[2])
    assert gates.names == gates.blocks == ("q_proj", "v_proj")


@pytest.mark.filterwarnings("ignore:the gates .* share the trainable parameter:UserWarning")
def test_layers_that_share_only_an_adapters_parameter_keep_gates_of_their_own():
    config = peft.VBLoRAConfig(r=2, target_modules=["q_proj"], num_vectors=4, vector_length=4, topk=2)
    gates = attach_gates(tiny.wrap(tiny.llama(), config), by="module")
    assert gates.names == tuple(f"{name}.self_attn.q_proj" for name in llama_blocks(0, 1, 2))


def test_a_group_is_a_frozen_value():
    assert len({Group("a", ("a.q",), "a", 0), Group("a", ("a.q",), "a", 0), Group("a", ("a.q",), "a", 1)}) == 2
