"""The other design of ``pages/peft.md``: the base class of all methods leaves dropped adapters out of ``active_adapters``."""

from __future__ import annotations

import peft
import pytest
import tiny_models as tiny
import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from peft_methods import METHODS, gradients, logits, model_of
from torch import Tensor, nn

from coto_lab import attach_gates

ACTIVE = BaseTunerLayer.active_adapters
pytestmark = pytest.mark.filterwarnings("ignore:Sparse invariant checks are implicitly disabled:UserWarning")  # FRoD


def without_dropped(layer: BaseTunerLayer) -> list[str]:
    dropped = vars(layer).get("coto_dropped", ()) if layer.training else ()
    return [name for name in ACTIVE.fget(layer) if name not in dropped]


@pytest.fixture
def patched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaseTunerLayer, "active_adapters", property(without_dropped))


def drop(model: nn.Module, block: int) -> None:
    for name, layer in model.named_modules():
        if isinstance(layer, BaseTunerLayer) and f"layers.{block}." in name:
            layer.coto_dropped = {"default"}


@pytest.mark.filterwarnings("ignore::UserWarning")  # what gates say of some methods is tested with the gates
@pytest.mark.parametrize("method", METHODS)
def test_every_method_of_peft_equals_our_gates(patched: None, method: str) -> None:
    model, ours = model_of(method), model_of(method)
    drop(model, block=1)
    gates = attach_gates(ours)
    gates.train_with(torch.arange(len(gates)) != 1)
    assert torch.equal(logits(method, model.train()), logits(method, ours.train()))
    pairs = zip(gradients(method, model).values(), gradients(method, ours).values(), strict=True)
    assert all(_equal(one, other) for one, other in pairs)


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return (one is None) == (other is None) and (one is None or other is None or torch.equal(one, other))


def test_its_flaw_disable_adapter_switches_a_dropped_adapter_off_for_good(patched: None) -> None:
    model = peft.get_peft_model(tiny.llama(), tiny.config_of("LoRA")).train()
    drop(model, block=1)
    with model.disable_adapter():  # on leaving, PEFT calls set_adapter(self.active_adapters)
        pass
    active = [layer.active_adapter for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
    assert active == [["default"]] * 2 + [[]] * 2 + [["default"]] * 2
