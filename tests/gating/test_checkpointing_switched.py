"""Checkpointing that is switched off and on, or to the other kind, while CoTo lets the backward pass stop."""

from __future__ import annotations

from copy import deepcopy

import tiny_models as tiny
import torch
from gating.test_checkpointing import BLOCKS, asking, checkpointed_llama
from torch import nn

from coto_lab import Constant, CoTo, Linear, attach_gates, gates_of
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.gating.checkpointing import ask_again, let_backward_stop


def switch(model: nn.Module, reentrant: bool) -> None:
    """Checkpointing off and on again."""
    model.gradient_checkpointing_disable()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})


def test_embeddings_stay_silent_when_checkpointing_is_switched_off_and_on_again() -> None:
    model, twin = checkpointed_llama(False), checkpointed_llama(False)
    undo = let_backward_stop(model)
    for _ in range(2):
        switch(model, reentrant=False), switch(twin, reentrant=False)
        assert asking(model) == 0
    undo()
    assert asking(model) == asking(twin) >= 1
    switch(model, reentrant=False), switch(twin, reentrant=False)
    assert asking(model) == asking(twin)


def test_reentrant_checkpointing_that_is_switched_on_meanwhile_is_asked_for() -> None:
    model = checkpointed_llama(False)
    let_backward_stop(model)
    switch(model, reentrant=True)
    assert asking(model) >= 1


def test_a_model_that_does_not_ask_by_itself_asks_when_it_checkpoints_reentrantly() -> None:
    model = add_adapter(tiny.vit(layers=BLOCKS), tiny.config_of("LoRA"))
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    CoTo(attach_gates(model), Constant(1.0), total_steps=4)
    switch(model, reentrant=True)  # transformers has image models not ask then
    images = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model.train()(pixel_values=images, labels=torch.tensor([0, 1])).loss.backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_a_method_of_the_users_own_stays() -> None:
    model = checkpointed_llama(False)
    base, own = model.get_base_model(), lambda: None
    base.enable_input_require_grads = own
    CoTo(attach_gates(model), Linear(), total_steps=4)
    gates_of(model).detach()
    assert base.enable_input_require_grads is own


def test_asking_that_was_switched_off_meanwhile_stays_off() -> None:
    model = tiny.llama(layers=BLOCKS)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    model.enable_input_require_grads()
    model = add_adapter(model, tiny.lora(tiny.TARGETS))
    undo = let_backward_stop(model)
    hooks = model.get_input_embeddings()._forward_hooks
    before = len(hooks)
    model.disable_input_require_grads()
    undo()
    assert asking(model) == len(hooks) < before


def test_a_copy_of_a_silent_model_asks_by_itself() -> None:
    model = checkpointed_llama(False)
    let_backward_stop(model)
    copied = deepcopy(model)
    ask_again(copied)
    switch(copied, reentrant=False)
    assert asking(copied) >= 1 and asking(model) == 0
