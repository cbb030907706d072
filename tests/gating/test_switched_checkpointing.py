"""After checkpointing was switched off and on again, the embeddings still do not ask for gradients."""

from __future__ import annotations

import peft
import pytest
import tiny_models as tiny
from torch import nn

from coto_lab.gating.checkpointing import let_backward_stop
from coto_lab.gating.switched_checkpointing import do_not_ask_anew


def checkpointed(reentrant: bool) -> nn.Module:
    model = peft.get_peft_model(tiny.llama(), tiny.config_of("LoRA"))
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    return model.train()


def asks(model: nn.Module) -> bool:
    """Whether the embeddings' output requires a gradient."""
    seen: list[bool] = []
    first = model.get_base_model().model.layers[0]
    watch = first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].requires_grad))
    model(tiny.TOKENS)
    watch.remove()
    return seen[0]


def switch(model: nn.Module, reentrant: bool) -> None:
    model.gradient_checkpointing_disable()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})


def test_embeddings_do_not_ask_until_it_is_undone() -> None:
    model = checkpointed(reentrant=False)
    let_backward_stop(model)
    switch(model, reentrant=False)
    assert asks(model)  # so much for stopping alone
    let_backward_stop(model)
    undo = do_not_ask_anew(model)
    for _ in range(2):
        switch(model, reentrant=False)
        assert not asks(model)
    undo()
    switch(model, reentrant=False)
    assert asks(model)


@pytest.mark.parametrize("reentrant", [True, None], ids=["reentrant", "not checkpointed"])
def test_models_that_need_it_or_are_not_checkpointed_stay_as_they_are(reentrant: bool | None) -> None:
    model = checkpointed(True) if reentrant else peft.get_peft_model(tiny.llama(), tiny.config_of("LoRA")).train()
    before = [set(vars(module)) for module in model.modules()]
    do_not_ask_anew(model)
    assert [set(vars(module)) for module in model.modules()] == before
