"""`Adapter.from_model` and `Adapter.copy_to` on models with adapters of any name, kind and number."""

from __future__ import annotations

from collections.abc import Callable

import peft
import pytest
import torch
from tiny_models import METHODS, adapted, config_of, llama, logits, randomise, wrap
from torch import Tensor, nn

from coto_lab import Adapter


def snapshot(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def changed(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


def of(name: str, key: str) -> bool:
    """Whether a parameter is one of the adapter ``name``."""
    return name in key.split(".")


def with_adapters(config: peft.PeftConfig, *names: str) -> peft.PeftModel:
    """A model with an adapter of each name, all randomised; the last is active."""
    model = peft.get_peft_model(llama(), config, adapter_name=names[0])
    for name in names[1:]:
        model.add_adapter(name, config)
    for name in names:
        model.set_adapter(name)
        randomise(model, seed=len(name))
    return model.eval()


SECOND = pytest.mark.filterwarnings("ignore:Already found a .peft_config. attribute:UserWarning")  # PEFT, in add_adapter

SETTINGS = [
    *({"method": method} for method in METHODS),
    {"modules_to_save": ["lm_head"]},
    {"trainable_token_indices": [1, 4]},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda settings: "-".join(map(str, settings.values())))
@pytest.mark.parametrize("names", [("mine",), ("default", "second"), ("second", "default"), ("first", "0")], ids="-".join)
def test_the_active_adapter_is_read_and_written_and_no_other(settings: dict, names: tuple[str, ...]) -> None:
    config = config_of(**{"method": "LoRA"} | settings)
    source = wrap(llama(), config)
    adapter, model = Adapter.from_model(source), with_adapters(config, *names)
    before = snapshot(model)
    assert not torch.equal(logits(model), logits(source))
    adapter.copy_to(model)
    assert torch.equal(logits(model), logits(source))
    assert changed(model, before) and all(of(names[-1], key) for key in changed(model, before))
    again = Adapter.from_model(model)
    assert again.tensors.keys() == adapter.tensors.keys() and again.config == adapter.config
    assert all(torch.equal(again.tensors[key], tensor) for key, tensor in adapter.tensors.items())


@SECOND
@pytest.mark.parametrize("method", [method for method in METHODS if method != "VeRA"])  # PEFT refuses it there
@pytest.mark.parametrize("settings", [{}, {"modules_to_save": ["lm_head"]}], ids=str)
def test_a_transformers_model_with_add_adapter_is_one_of_its_kind(method: str, settings: dict) -> None:
    model, config = llama(), config_of(method, **settings)
    model.add_adapter(config, adapter_name="first")
    model.add_adapter(config, adapter_name="second")
    randomise(model).eval()
    adapter = Adapter.from_model(model)
    assert torch.equal(logits(adapter.attach(llama())), logits(model))
    before = snapshot(model)
    other = randomise(peft.get_peft_model(llama(), config_of(method, **settings)), seed=1).eval()
    Adapter.from_model(other).copy_to(model)
    assert torch.equal(logits(other), logits(model))
    assert changed(model, before) and all(of("second", key) for key in changed(model, before))


@pytest.mark.parametrize(
    "config",
    [
        peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    ],
    ids=lambda config: config.peft_type.value,
)
def test_a_prompt_is_an_adapter_without_layers(config: peft.PeftConfig) -> None:
    source = wrap(llama(), config)
    adapter, model = Adapter.from_model(source), with_adapters(config, "default", "second")
    before = snapshot(model)
    adapter.copy_to(model)
    assert torch.equal(logits(model), logits(source)) and torch.equal(logits(adapter.attach(llama())), logits(source))
    assert changed(model, before) == {"prompt_encoder.second.embedding.weight"}


@pytest.mark.parametrize(
    "config",
    [
        peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=8),
        peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=8),
    ],
    ids=lambda config: config.peft_type.value,
)
def test_a_prompt_that_a_network_computes_is_read_and_not_written(config: peft.PeftConfig) -> None:
    model = wrap(llama(), config)
    adapter, before = Adapter.from_model(model), snapshot(model)
    torch.testing.assert_close(logits(adapter.attach(llama())), logits(model))
    with pytest.raises(ValueError, match=r"computes its prompt with a network.*Use Adapter\.attach"):
        adapter.copy_to(model)
    assert not changed(model, before)


def _several(model: peft.PeftModel) -> nn.Module:
    model.base_model.set_adapter(["first", "second"])
    return model


def _without_active(model: peft.PeftModel) -> nn.Module:
    model.base_model.set_adapter([])
    return model


def _mixed(model: peft.PeftModel) -> nn.Module:
    mixed = peft.get_peft_model(llama(), config_of("LoRA"), adapter_name="first", mixed=True)
    mixed.add_adapter("second", config_of("LoHa"))
    mixed.set_adapter(["first", "second"])
    return mixed


def _transformers(model: peft.PeftModel) -> nn.Module:
    model = llama()
    model.add_adapter(config_of("LoRA"), adapter_name="first")
    model.add_adapter(config_of("LoRA"), adapter_name="second")
    model.set_adapter(["first", "second"])
    return model


def _deleted(model: peft.PeftModel) -> nn.Module:
    with pytest.warns(UserWarning, match="was active which is now deleted"):
        model.delete_adapter("second")
    model.delete_adapter("first")
    return model


def _unloaded(model: peft.PeftModel) -> nn.Module:
    model.unload()
    return model


def _of_one_name(model: peft.PeftModel) -> nn.Module:
    model.add_adapter("0", config_of("LoRA"))  # PEFT takes layers.0 for tensors of it, and would leave them out
    return model


BOTH = r"model has the adapters \['first', 'second'\], of which \['first', 'second'\] are active.*model\.set_adapter\('first'\)"


@SECOND
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch, when it imports its compiler
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_several, BOTH),
        (_mixed, BOTH),
        (_transformers, BOTH),
        (
            _without_active,
            r"model has the adapters \['first', 'second'\], of which none are active.*model\.set_adapter\('first'\)",
        ),
        (_deleted, "of the class PeftModel, has no adapter"),
        (_unloaded, "no longer has layers of its adapter 'second', because"),
        (
            _of_one_name,
            r"an adapter named '0', and names of layers contain this too, such as .*model\.layers\.0\.self_attn\.q_proj",
        ),
        (
            lambda model: llama(),
            r"of the class LlamaForCausalLM, has no adapter\. Give the model that peft\.get_peft_model returned",
        ),
        (lambda model: model.get_base_model(), "of the class LlamaForCausalLM, has no adapter"),
        (lambda model: model.base_model, "of the class LoraModel, has no adapter"),
        (torch.compile, r"OptimizedModule, has no adapter.*torch\.compile in model\._orig_mod"),
        (lambda model: nn.Linear(2, 2), "of the class Linear, has no adapter"),
    ],
)
def test_where_not_exactly_one_adapter_is_active_nothing_is_read_or_written(
    spoil: Callable[[peft.PeftModel], nn.Module], message: str
) -> None:
    adapter = Adapter.from_model(adapted("LoRA"))
    model = spoil(with_adapters(config_of("LoRA"), "first", "second"))
    before = snapshot(model)
    for use in (Adapter.from_model, adapter.copy_to):
        with pytest.raises(ValueError, match=message):
            use(model)
    assert not changed(model, before)


@SECOND
def test_the_advice_for_two_active_adapters_works() -> None:
    for make in (_several, _mixed, _transformers):
        model = make(with_adapters(config_of("LoRA"), "first", "second"))
        model.set_adapter("first")
        assert Adapter.from_model(model).config["peft_type"] == "LORA"


@pytest.mark.filterwarnings("ignore:Unmerge result can be inaccurate for .IA.:UserWarning")
@pytest.mark.parametrize("method", METHODS)
def test_a_merged_adapter_is_read_and_not_written(method: str) -> None:
    model = adapted(method)
    adapter, new = Adapter.from_model(model), Adapter.from_model(randomise(adapted(method).train(), seed=1))
    model.merge_adapter()
    merged, before = Adapter.from_model(model), snapshot(model)
    assert all(torch.equal(merged.tensors[key], tensor) for key, tensor in adapter.tensors.items())
    with pytest.raises(ValueError, match=r"model has \['default'\] merged into .*model\.layers\.0.*unmerge_adapter\(\) first"):
        new.copy_to(model)
    assert not changed(model, before)
    model.unmerge_adapter()
    new.copy_to(model)
    assert all(torch.equal(Adapter.from_model(model).tensors[key], tensor) for key, tensor in new.tensors.items())
