"""Which layers share a gate in real architectures, and which models are refused or warned about."""

import peft
import pytest
import tiny_models as tiny
import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from torch import nn

from coto_lab import LoRALinear, attach_gates
from coto_lab._gate_checks import block_name


def lora(targets, **settings):
    return peft.LoraConfig(r=2, target_modules=targets, **settings)


def grouped(model, by="block"):
    """Gate name -> its modules, without the gate's prefix."""
    gates = attach_gates(model, by=by)
    pairs = zip(gates.modules, gates.gate_of_module.tolist(), strict=True)
    groups = {name: [] for name in gates.names}
    for module, index in pairs:
        groups[gates.names[index]].append(module.removeprefix(f"{gates.names[index]}."))
    return groups


def llama_blocks(*indices):
    return [f"model.layers.{i}" for i in indices]


# --- Grouping ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("vit.layers.3.attention.q_proj", "vit.layers.3"),
        ("layers.12", "layers.12"),
        ("0.q_proj", "0"),
        ("encoder.layers.1.blocks.2.mlp.fc1", "encoder.layers.1.blocks.2"),
        ("encoder.block.0.layer.1.DenseReluDense.wi", "encoder.block.0"),
        ("model.layers.2.mlp.experts.5.up_proj", "model.layers.2"),
        ("h2o.layers.1.conv1d", "h2o.layers.1"),
        ("model.embed_tokens", None),
        ("conv1.weight2", None),
    ],
)
def test_the_block_is_the_outermost_index_in_the_name(name, block):
    assert block_name(name) == block


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


# --- Refusals: nothing about the model has changed afterwards ------------------------------------------------------------


def no_adapters():
    return tiny.llama()


def only_trainable_tokens():
    return tiny.wrap(tiny.llama(), peft.TrainableTokensConfig(target_modules=["embed_tokens"], token_indices=[0]))


def gated_already():
    model = tiny.adapted()
    attach_gates(model)
    return model


def ada_lora():
    return peft.get_peft_model(tiny.llama(), peft.AdaLoraConfig(target_modules=tiny.TARGETS, total_step=10))


def on_no_block():
    return tiny.wrap(tiny.llama(), lora(["q_proj", "lm_head"]))


def hooked():
    model = tiny.adapted()
    add_hook_to_module(model.get_base_model().model.layers[1].self_attn.v_proj, ModelHook())
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_adapters, r"LlamaForCausalLM\) has no adapter layers.*get_peft_model"),
        (only_trainable_tokens, "has no adapter layers"),
        (gated_already, r"gated already \(6 layers, first 'model\.layers\.0\.self_attn\.q_proj'\).*gates_of"),
        (ada_lora, "'default' is AdaLoRA.*gradient"),
        (lambda: nn.Sequential(ada_lora()), "'default' is AdaLoRA"),
        (on_no_block, r"no block.*\['lm_head'\].*exclude_modules.*modules_to_save.*by='module'"),
        (hooked, r"'model\.layers\.1\.self_attn\.v_proj' \(1 such layers\).*remove_hook_from_module"),
    ],
    ids=["no adapters", "tokens only", "gated already", "AdaLoRA", "AdaLoRA inside", "on no block", "hooked"],
)
def test_models_that_cannot_be_gated_are_refused_and_left_as_they_were(make, message):
    model = make()
    before = [(type(module), set(vars(module))) for module in model.modules()]
    with pytest.raises(ValueError, match=message):
        attach_gates(model)
    assert [(type(module), set(vars(module))) for module in model.modules()] == before


def test_an_unknown_by_is_named():
    with pytest.raises(ValueError, match=r"by='layer' is not known; use 'block'.*'module'"):
        attach_gates(tiny.adapted(), by="layer")


def test_a_layer_on_no_block_can_be_gated_by_module():
    assert "lm_head" in grouped(on_no_block(), by="module")


def test_removing_the_hooks_as_the_message_says_makes_the_model_acceptable():
    model = hooked()
    opened = tiny.logits(model)
    remove_hook_from_module(model, recurse=True)
    gates = attach_gates(model)
    assert torch.equal(tiny.logits(model), opened)
    gates.close(range(3))
    assert torch.equal(tiny.logits(model), tiny.logits(tiny.llama().eval()))


# --- Warnings: the caller's line is named, and the gates work all the same -----------------------------------------------


@pytest.mark.parametrize("initialisation", ["pissa", "pissa_niter_2", "olora"])
def test_an_initialisation_that_rewrites_the_base_is_named(initialisation):
    model = peft.get_peft_model(tiny.llama(), lora(tiny.TARGETS, init_lora_weights=initialisation)).eval()
    with pytest.warns(UserWarning, match=f"'default'.*init_lora_weights='{initialisation}', which rewrites the base") as caught:
        gates = attach_gates(model)
    assert [warning.filename for warning in caught] == [__file__]
    gates.close(range(3))  # the warning is right: closed is not the pre-trained function
    difference = tiny.logits(model) - tiny.logits(tiny.llama().eval())
    assert difference.abs().max() > 1e-3


@pytest.mark.parametrize("by", ["block", "module"])
def test_parameters_shared_across_gates_are_named_and_do_keep_training(by):
    config = peft.VBLoRAConfig(r=2, target_modules=["q_proj"], num_vectors=4, vector_length=4, topk=2)
    model = tiny.wrap(tiny.llama(), config)
    with pytest.warns(UserWarning, match=r"'model\.layers\.0.*'model\.layers\.1.*'vblora_vector_bank\.default'") as caught:
        gates = attach_gates(model, by=by)
    assert [warning.filename for warning in caught] == [__file__]
    gates.train_with(torch.tensor([False, True, True]))
    grads = tiny.gradients(model)
    assert next(grad for name, grad in grads.items() if "vector_bank" in name) is not None
    assert all(grad is None for name, grad in grads.items() if "layers.0." in name and "vector_bank" not in name)


def test_our_own_layer_groups_and_is_refused_like_pefts():
    blocks = nn.ModuleList(nn.ModuleDict({"up": LoRALinear(nn.Linear(3, 3), 1, 1)}) for _ in range(2))
    model = nn.ModuleDict({"blocks": blocks, "head": LoRALinear(nn.Linear(3, 3), 1, 1)})
    with pytest.raises(ValueError, match=r"no block.*\['head'\]"):
        attach_gates(model)
    del model["head"]
    assert grouped(model) == {"blocks.0": ["up"], "blocks.1": ["up"]}
