"""Under checkpointing that is not reentrant, the backward pass stops at the lowest open block, as it does without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import diffusers
import peft
import pytest
import tiny_models as tiny
import torch
from tiny_tasks import CopyTask
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import (
    CheckpointImpl,
    apply_activation_checkpointing,
    checkpoint_wrapper,
)
from torch.utils.flop_counter import FlopCounterMode
from transformers import Trainer, TrainerCallback, TrainingArguments

from coto_lab import CoTo, CoToCallback, Linear, Recipe, Training, attach_gates, fit, gates_of
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.gating.checkpointing import _Silenced, checkpoints_reentrantly, is_checkpointed, let_backward_stop

BLOCKS = 4


def checkpointed_llama(reentrant: bool) -> nn.Module:
    """As a task hands it over: checkpointing is on before PEFT adds the adapter, and lets the embeddings ask for gradients."""
    base = tiny.llama(layers=BLOCKS)
    base.gradient_checkpointing_enable({"use_reentrant": reentrant})
    return tiny.randomise(add_adapter(base, tiny.lora(tiny.TARGETS))).train()


def watched(model: nn.Module) -> set[int]:
    """The blocks whose output a backward pass reached; filled by each pass."""
    reached: set[int] = set()

    def watch(index: int, output: torch.Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda _: reached.add(index))

    blocks = next(module for module in model.modules() if isinstance(module, nn.ModuleList) and len(module) == BLOCKS)
    for index, block in enumerate(blocks):
        block.register_forward_hook(
            lambda _, __, output, index=index: watch(index, output[0] if isinstance(output, tuple) else output)
        )
    return reached


def asking(model: nn.Module) -> int:
    """How many hooks make the output of the first layer require gradients."""
    embeddings = model.get_base_model().get_input_embeddings()
    return sum(not isinstance(hook, _Silenced) for hook in embeddings._forward_hooks.values())


@pytest.mark.parametrize("lowest", range(BLOCKS))
def test_backward_stops_where_it_stops_without_checkpointing_and_gives_the_same_gradients(lowest: int) -> None:
    plain, model = tiny.randomise(add_adapter(tiny.llama(layers=BLOCKS), tiny.lora(tiny.TARGETS))), checkpointed_llama(False)
    let_backward_stop(model)
    mask = torch.arange(BLOCKS) == lowest
    reached, gradients = {}, {}
    for name, each in (("plain", plain), ("checkpointed", model)):
        seen = watched(each)
        attach_gates(each).train_with(mask)
        gradients[name] = tiny.gradients(each)
        reached[name] = seen
    assert reached["plain"] == reached["checkpointed"] == set(range(lowest, BLOCKS))
    for name, gradient in gradients["plain"].items():
        other = gradients["checkpointed"][name]
        assert gradient is other is None or torch.equal(gradient, other)


def test_before_it_is_undone_backward_goes_through_every_block() -> None:
    model = checkpointed_llama(False)
    reached = watched(model)
    attach_gates(model).train_with(torch.arange(BLOCKS) == BLOCKS - 1)
    tiny.gradients(model)
    assert reached == set(range(BLOCKS))


def test_a_model_that_needs_it_or_is_not_checkpointed_stays_as_it_is() -> None:
    reentrant, plain = checkpointed_llama(True), tiny.adapted()
    plain.enable_input_require_grads()
    assert checkpoints_reentrantly(reentrant) and not checkpoints_reentrantly(plain)
    for model in (reentrant, plain):
        attributes = [set(vars(module)) for module in model.modules()]
        let_backward_stop(model)
        assert [set(vars(module)) for module in model.modules()] == attributes
        before = asking(model)
        let_backward_stop(model)()
        let_backward_stop(model)
        assert asking(model) == before >= 1


class Checkpointed(CopyTask):
    """The copying task, whose base computes activations twice."""

    def load_base(self) -> nn.Module:
        base = super().load_base()
        base.gradient_checkpointing_enable({"use_reentrant": False})
        return base


def test_fit_stops_backward_and_trains_to_the_same_bits() -> None:
    recipe = Recipe(r=2, schedule=Linear(), steps=12, batch_size=4)
    plain, checkpointed = fit(CopyTask(), recipe, progress=False), fit(Checkpointed(), recipe, progress=False)
    assert all(torch.equal(plain.adapter.tensors[name], t) for name, t in checkpointed.adapter.tensors.items())
    assert torch.equal(plain.history.loss, checkpointed.history.loss)

    training = Training(Checkpointed(), replace(recipe, steps=30))
    reached = watched(training.model)
    lowest = []
    for record in training:
        lowest.append(int(record.mask.int().argmax()))
        assert reached == set(range(lowest[-1], BLOCKS))
        reached.clear()
    assert len(set(lowest)) > 1


class Watcher(TrainerCallback):
    """Notes the open gates of each step beside the blocks that its backward pass reached."""

    def __init__(self, coto: CoToCallback, reached: set[int]):
        self.coto, self.reached, self.seen = coto, reached, []

    def on_pre_optimizer_step(self, args, state, control, **_) -> None:  # type: ignore[no-untyped-def]
        self.seen.append((int(self.coto.coto.mask(state.global_step).int().argmax()), min(self.reached)))
        self.reached.clear()


def test_a_trainer_saves_too_and_the_model_is_as_before_afterwards(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = add_adapter(tiny.vit(layers=BLOCKS), tiny.config_of("LoRA"))
    model.enable_input_require_grads()
    callback = CoToCallback()
    watcher = Watcher(callback, watched(model))
    args = TrainingArguments(
        tmp_path, max_steps=8, save_strategy="no", report_to=[], disable_tqdm=True, use_cpu=True, gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": False},
    )  # fmt: skip
    images = [{"pixel_values": torch.randn(1, 8, 8), "labels": torch.tensor(i % 3)} for i in range(8)]
    Trainer(model=model, args=args, train_dataset=images, callbacks=[callback, watcher]).train()
    assert len(watcher.seen) == 8 and len({lowest for lowest, _ in watcher.seen}) > 1
    assert all(lowest == reached for lowest, reached in watcher.seen)
    assert asking(model) >= 1


def test_hooks_that_ask_again_are_those_of_before() -> None:
    model = checkpointed_llama(False)
    hooks = model.get_base_model().get_input_embeddings()._forward_hooks
    before = dict(hooks)
    ask_again = let_backward_stop(model)
    assert before and asking(model) == 0
    ask_again()
    assert dict(hooks) == before, "under the keys by which their handles remove them"


def test_the_checkpointing_of_diffusers_is_known() -> None:
    model = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        norm_num_groups=4, layers_per_block=1,
    )  # fmt: skip
    model.enable_gradient_checkpointing()
    assert is_checkpointed(model) and not checkpoints_reentrantly(model)


# --- Every way to switch checkpointing on ----------------------------------------------------------------------------------

NOT_REENTRANT = {"use_reentrant": False}


def before_the_adapter() -> nn.Module:
    base = tiny.llama(layers=BLOCKS)
    base.gradient_checkpointing_enable(NOT_REENTRANT)
    return peft.get_peft_model(base, tiny.config_of("LoRA"))


def after_the_adapter() -> nn.Module:
    model = peft.get_peft_model(tiny.llama(layers=BLOCKS), tiny.config_of("LoRA"))
    model.gradient_checkpointing_enable(NOT_REENTRANT)
    model.enable_input_require_grads()  # as many examples do
    return model


def add_adapter_of_transformers() -> nn.Module:
    model = tiny.llama(layers=BLOCKS)
    model.add_adapter(tiny.config_of("LoRA"))
    model.gradient_checkpointing_enable(NOT_REENTRANT)
    return model


def for_kbit_training() -> nn.Module:
    base = peft.prepare_model_for_kbit_training(tiny.llama(layers=BLOCKS), gradient_checkpointing_kwargs=NOT_REENTRANT)
    return peft.get_peft_model(base, tiny.config_of("LoRA"))


def wrappers_of_torch() -> nn.Module:
    model = peft.get_peft_model(tiny.llama(layers=BLOCKS), tiny.config_of("LoRA"))
    model.enable_input_require_grads()
    apply_activation_checkpointing(model, check_fn=lambda module: type(module).__name__ == "LlamaDecoderLayer")
    return model


@pytest.mark.parametrize(
    "make", [before_the_adapter, after_the_adapter, add_adapter_of_transformers, for_kbit_training, wrappers_of_torch]
)
def test_a_loop_by_hand_saves_too_however_checkpointing_was_switched_on(make: Callable[[], nn.Module]) -> None:
    model = make()
    embeddings = model.get_input_embeddings()
    asked = dict(embeddings._forward_hooks)
    reached = watched(model)
    gates = attach_gates(model)
    assert len(gates) == BLOCKS
    coto = CoTo(gates, Linear(), total_steps=20)
    lowest = set()
    for _ in range(8):
        tiny.gradients(model)
        lowest.add(int(gates.mask.int().argmax()))
        assert reached == set(range(int(gates.mask.int().argmax()), BLOCKS))
        reached.clear()
        coto.step()
    assert len(lowest) > 1
    gates.detach()
    assert dict(embeddings._forward_hooks) == asked


def test_gates_that_are_found_again_undo_it_too() -> None:
    model = checkpointed_llama(False)
    before = asking(model)
    CoTo(attach_gates(model), Linear(), total_steps=20)
    assert asking(model) == 0
    gates_of(model).detach()
    assert asking(model) == before >= 1


def test_wrappers_of_torch_of_the_reentrant_kind_are_known() -> None:
    model = tiny.adapted()
    apply_activation_checkpointing(
        model,
        checkpoint_wrapper_fn=partial(checkpoint_wrapper, checkpoint_impl=CheckpointImpl.REENTRANT),
        check_fn=lambda module: type(module).__name__ == "LlamaDecoderLayer",
    )
    assert is_checkpointed(model) and checkpoints_reentrantly(model)


def test_with_the_top_block_alone_backward_costs_a_small_part() -> None:
    """Counted operations: of the recomputation, the backward pass and the head, which is the same for both."""
    costs = []
    for stops in (False, True):
        model = checkpointed_llama(False)
        gates = attach_gates(model)
        if stops:
            let_backward_stop(model)
        gates.train_with(torch.arange(BLOCKS) == BLOCKS - 1)
        loss = model(input_ids=tiny.TOKENS, labels=tiny.TOKENS).loss
        with FlopCounterMode(display=False) as counter:
            loss.backward()
        costs.append(counter.get_total_flops())
    through, stopping = costs
    assert stopping < 0.4 * through
