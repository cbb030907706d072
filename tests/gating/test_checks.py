"""Which models are refused or warned about."""

import peft
import pytest
import tiny_models as tiny
import torch
import transformers
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from tiny_models import grouped, lora
from torch import nn

from coto_lab import LoRALinear, attach_gates

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
    return tiny.wrap(tiny.llama(), lora(["lm_head"]))


def prompt_tuning():
    return peft.get_peft_model(tiny.llama(), peft.PromptTuningConfig(num_virtual_tokens=2, task_type="CAUSAL_LM"))


def hooked():
    model = tiny.adapted()
    add_hook_to_module(model.get_base_model().model.layers[1].self_attn.v_proj, ModelHook())
    return model


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (no_adapters, r"LlamaForCausalLM\) has no adapter layers.*get_peft_model"),
        (only_trainable_tokens, "method of adapter 'default', TRAINABLE_TOKENS, has no adapter layers"),
        (prompt_tuning, "method of adapter 'default', PROMPT_TUNING, has no adapter layers.*virtual tokens.*such as LoRA"),
        (gated_already, r"gated already \(6 layers, first 'model\.layers\.0\.self_attn\.q_proj'\).*gates_of"),
        (ada_lora, "'default' is AdaLoRA.*gradient"),
        (lambda: nn.Sequential(ada_lora()), "'default' is AdaLoRA"),
        (on_no_block, r"none of the 1 adapter layers gets a gate with by='block': lm_head\. .*by='module'"),
        (hooked, r"'model\.layers\.1\.self_attn\.v_proj' \(1 such layers\).*remove_hook_from_module"),
    ],
    ids=["no adapters", "tokens only", "prompt tuning", "gated already", "AdaLoRA", "AdaLoRA inside", "on no block", "hooked"],
)
def test_models_that_cannot_be_gated_are_refused_and_left_as_they_were(make, message):
    model = make()
    before = [(type(module), set(vars(module))) for module in model.modules()]
    with pytest.raises(ValueError, match=message):
        attach_gates(model)
    assert [(type(module), set(vars(module))) for module in model.modules()] == before


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


def test_layers_outside_all_blocks_stay_open_with_one_warning_that_names_them():
    model = tiny.wrap(tiny.bert(), lora(["query", "dense", "classifier"], exclude_modules=r".*(output|intermediate).*"))
    with pytest.warns(
        UserWarning, match=r"outside of all blocks, which stay open \(2\): bert\.pooler\.dense, classifier\."
    ) as seen:
        gates = attach_gates(model)
    assert [warning.filename for warning in seen] == [__file__]
    assert gates.modules == tuple(f"bert.encoder.layer.{i}.attention.self.query" for i in range(3))
    gates.train_with(torch.tensor([True, False, False]))
    model.train()(input_ids=tiny.TOKENS, labels=torch.tensor([0, 1])).loss.backward()
    trained = {name.split(".lora_")[0] for name, parameter in model.named_parameters() if parameter.grad is not None}
    expected = ("bert.encoder.layer.0.attention.self.query", "bert.pooler.dense", "classifier")
    assert trained == {f"base_model.model.{name}" for name in expected}


def test_blocks_that_are_skipped_at_random_are_told_of():
    config = transformers.BartConfig(
        vocab_size=32, d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=16, decoder_layerdrop=0.1,
    )  # fmt: skip
    model = tiny.wrap(transformers.BartForConditionalGeneration(config), lora(["q_proj"]))
    with pytest.warns(UserWarning, match=r"'model\.decoder' skips blocks at random .*layerdrop 0\.1.*to 0"):
        attach_gates(model)


def test_a_layerdrop_that_is_no_number_skips_nothing():
    model = tiny.adapted()
    inner = model.get_base_model().model
    inner.layerdrop = inner.config.layerdrop = None
    assert len(attach_gates(model)) == 3  # no warning: the suite makes them errors


def test_parameters_without_memory_of_their_own_are_not_taken_for_one():
    gates = attach_gates(tiny.adapted().to("meta"), by="module")  # no warning that they are shared
    assert len(gates) == 6


@pytest.mark.parametrize(
    ("settings", "unfrozen", "first"),
    [
        ({"bias": "lora_only"}, "", "q_proj.base_layer.bias"),
        ({"bias": "all"}, "", "q_proj.base_layer.bias"),
        ({}, "input_layernorm", "input_layernorm.weight"),
        ({"modules_to_save": ["up_proj"]}, "", "up_proj.modules_to_save.default.weight"),
    ],
    ids=["bias=lora_only", "bias=all", "a layer norm", "modules_to_save"],
)
def test_what_else_trains_in_a_block_is_named_and_does_keep_training(settings, unfrozen, first):
    model = tiny.wrap(tiny.llama(attention_bias=True), lora(tiny.TARGETS, **settings))
    for name, parameter in model.named_parameters():
        if unfrozen and unfrozen in name:
            parameter.requires_grad_(True)
    with pytest.warns(
        UserWarning, match=rf"parameters train inside the gated blocks .*'model\.layers\.0\..*{first}'.*bias="
    ) as seen:
        gates = attach_gates(model)
    assert [warning.filename for warning in seen] == [__file__]
    tiny.gradients(model)
    before = {name: parameter.grad for name, parameter in model.named_parameters() if ".layers.0." in name}
    gates.train_with(torch.tensor([False, True, True]))
    kept = {name for name, parameter in model.named_parameters() if ".layers.0." in name and parameter.grad is not None}
    assert kept == {name for name, grad in before.items() if grad is not None and "lora_" not in name} != set()
    grads = {name: grad for name, grad in tiny.gradients(model).items() if ".layers.0." in name}
    assert {name for name, grad in grads.items() if grad is None} == {name for name in grads if "lora_" in name}


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


def test_our_own_layer_is_grouped_and_left_open_like_pefts():
    blocks = nn.ModuleList(nn.ModuleDict({"up": LoRALinear(nn.Linear(3, 3), 1, 1)}) for _ in range(2))
    model = nn.ModuleDict({"blocks": blocks, "head": LoRALinear(nn.Linear(3, 3), 1, 1)})
    with pytest.warns(UserWarning, match=r"outside of all blocks, which stay open \(1\): head"):
        assert grouped(model) == {"blocks.0": ["up"], "blocks.1": ["up"]}
