from __future__ import annotations

from collections.abc import Callable

import peft
import pytest
import torch
from peft_methods import base, model_of
from tiny_models import adapted, randomise
from torch import nn

from coto_lab import Adapter
from coto_lab.adapters.methods.method import merged_update

# Additive, multiplicative, rewriting the base, on parameters, on norms, with shared tensors, in blocks.
MERGEABLE = [
    "LoRA", "DoRA", "HiRA", "LoHa", "LoKr", "OFT", "VeRA", "IA3", "PiSSA", "OLoRA", "LoRA, target_parameters", "LoRA, bias=all",
    "LN tuning", "FRoD", "GraLoRA", "UniLoRA",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Unsupported layer type", "ignore:Sparse invariant checks")  # PEFT's own
@pytest.mark.parametrize("method", MERGEABLE)
def test_it_is_what_peft_merges(method: str) -> None:
    model, pristine = model_of(method), base()
    before = {name: tensor.clone() for name, tensor in pristine.state_dict().items()}
    random = torch.get_rng_state()
    update = merged_update(Adapter.from_model(model), pristine)
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, before[name]) for name, tensor in pristine.state_dict().items())
    assert not any(isinstance(module, peft.tuners.tuners_utils.BaseTunerLayer) for module in pristine.modules())
    merged = model.merge_and_unload().state_dict()
    assert len(update) == 6
    for name, change in update.items():
        assert change.dtype == torch.float32 and not change.requires_grad
        assert change.abs().max() > 1e-3
        torch.testing.assert_close(before[f"{name}.weight"] + change, merged[f"{name}.weight"], atol=2e-6, rtol=1e-5)


def test_it_is_exact_where_the_weights_are_large() -> None:
    """A difference of two float32 matrices near 1000 would be off by 1e-4."""

    def large() -> nn.Module:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3))
        nn.init.uniform_(model[0].weight, 500, 1000)
        return model

    adapter = Adapter.from_model(randomise(peft.get_peft_model(large(), peft.LoraConfig(r=2, target_modules=["0"]))))
    a, b = adapter.factors()["base_model.model.0"]
    torch.testing.assert_close(merged_update(adapter, large())["0"], b @ a, atol=1e-7, rtol=1e-6)


def test_a_method_without_a_merge_is_refused_by_name() -> None:
    for method, reason in (("aLoRA", "does not support merging"), ("Lily", "not supported for Lily")):
        with pytest.raises(ValueError, match=r"adapter on model\.layers\.0\.self_attn\.q_proj has no update ΔW: .*" + reason):
            merged_update(Adapter.from_model(model_of(method)), base())


def test_a_layer_with_several_weights_is_refused() -> None:
    def attention() -> nn.Module:
        return nn.TransformerEncoderLayer(8, 2, 8)

    model = randomise(peft.get_peft_model(attention(), peft.LoraConfig(r=2, target_modules=["self_attn"])))
    with pytest.raises(ValueError, match="adapter on self_attn has no update ΔW: PEFT cannot merge it into one weight"):
        merged_update(Adapter.from_model(model), attention())


def test_a_base_that_does_not_fit_is_refused_and_not_changed() -> None:
    adapter = Adapter.from_model(adapted("DoRA"))
    refused: list[tuple[Callable[[], nn.Module], str]] = [
        (lambda: adapted("LoRA"), "base already carries an adapter"),
        (lambda: nn.Sequential(nn.Linear(2, 2)), "not found in the base model"),
    ]
    for make, message in refused:
        with pytest.raises(ValueError, match=message):
            merged_update(adapter, make())
