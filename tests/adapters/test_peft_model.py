"""Base models that share their weights, and new parameters in one of them."""

from __future__ import annotations

import pytest
import torch
from tiny_models import vit

from coto_lab.adapters.peft_model import put_in, twin


def test_what_is_put_into_a_twin_leaves_the_other_alone() -> None:
    model = vit()
    before, other = model.classifier.weight.clone(), torch.randn(3, 16)
    changed = put_in(twin(model), {"classifier.weight": other.double()})
    assert torch.equal(changed.classifier.weight, other) and changed.classifier.weight.dtype == torch.float32
    assert not changed.classifier.weight.requires_grad
    assert torch.equal(model.classifier.weight, before)
    assert changed.classifier.bias is model.classifier.bias and changed.vit.layernorm.weight is model.vit.layernorm.weight


@pytest.mark.parametrize("name", ["score.weight", "classifier.scale", "classifier.bias", "weight"])
def test_a_parameter_that_is_not_there_or_of_another_shape_is_refused(name: str) -> None:
    with pytest.raises(TypeError, match=rf"the model has no parameter {name} of shape \[3, 16\]"):
        put_in(vit(), {name: torch.zeros(3, 16)})
