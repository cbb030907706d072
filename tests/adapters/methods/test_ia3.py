from __future__ import annotations

import peft
import torch
from formulas import adapted, adapter_of, assert_a_dropped_block_is_pretrained, base, logits, tensors_of

from coto_lab import Adapter, Recipe, merge
from coto_lab.adapters.configuration import json_values
from coto_lab.adapters.methods.ia3 import IA3


def test_its_settings_reach_peft() -> None:
    expected = peft.IA3Config(target_modules=["a", "b"], feedforward_modules=[])
    assert IA3().peft_config(r=3, alpha=6.5, dropout=0.0, targets=["a", "b"]) == expected


def test_it_recognises_its_configuration() -> None:
    assert IA3().recognises(json_values(peft.IA3Config().to_dict()))
    assert not IA3().recognises(json_values(peft.LoraConfig().to_dict())) and not IA3().recognises({})


def test_it_scales_the_outputs_with_their_bias() -> None:
    """l ⊙ (W x + b): ΔW = (l - 1) ⊙ W, and the bias is scaled, too."""
    model, pristine = adapted("ia3"), base()
    adapter = Adapter.from_model(model)
    for name, change in adapter.update(pristine).items():
        layer, factor = pristine.get_submodule(name), tensors_of(adapter, name)["ia3_l"]
        assert factor.shape == (len(layer.bias), 1) and (factor - 1).abs().max() > 0.1
        torch.testing.assert_close(change.double(), (factor - 1) * layer.weight.detach().double())
        with torch.no_grad():
            layer.weight += change
            layer.bias *= factor[:, 0].float()
    torch.testing.assert_close(logits(model), logits(pristine))


def test_it_starts_at_1() -> None:
    model = Recipe(method="ia3").put_on(base(), ["q_proj"])
    assert all((tensor == 1).all() for tensor in Adapter.from_model(model).tensors.values())


def test_averaged_parameters_are_the_averaged_update_if_weights_sum_to_1() -> None:
    adapters = [adapter_of("ia3", seed) for seed in (0, 1)]
    first, second, fused = (adapter.update(base()) for adapter in (*adapters, merge(adapters, weights=[0.3, 0.7])))
    assert IA3().is_linear
    for name, change in fused.items():
        torch.testing.assert_close(change, 0.3 * first[name] + 0.7 * second[name])


def test_a_dropped_block_is_the_pretrained_one() -> None:
    assert_a_dropped_block_is_pretrained("ia3")
