"""One test for each feature that `transformers.Trainer` and TRL's trainers share; the files in `trainers` call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import tiny_models as tiny
import torch
import transformers
from torch import Tensor, nn
from trained_weights import same, weights
from trainer_models import BLOCKS, Kind, Moves, Watch, adapted, make

from coto_lab import Constant, CoToCallback, Linear, Schedule, attach_gates, gates_of
from coto_lab.gating.coto import draw_mask

SEED, STEPS, WHOLE = 3, 4, [True] * BLOCKS
SOME, ONE = Constant(0.4), Constant(0.0)  # with p = 0, one block is open in each step
SAVED = {"save_strategy": "steps", "save_steps": 3}
EVALUATED = {"eval_strategy": "steps", "eval_steps": 1}


def masks(schedule: Schedule, steps: int) -> list[list[bool]]:
    return [draw_mask(BLOCKS, schedule(step / steps), SEED, step).tolist() for step in range(steps)]


class Seeds(transformers.TrainerCallback):
    """Sets the global seed at the beginning of a training, where `by_hand` sets it."""

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        torch.manual_seed(0)


def by_hand(trainer: transformers.Trainer, drawn: list[list[bool]]) -> tuple[dict[str, Tensor], list[float]]:
    """A plain loop with the loss of a trainer, in which we set the gates: the weights, and the norm of each gradient."""
    model, norms = trainer.model.train(), []
    gates = attach_gates(model)
    trainer.create_optimizer_and_scheduler(len(drawn))
    batches = trainer.get_train_dataloader()
    torch.manual_seed(0)
    batches = iter(batches)
    for mask in drawn:
        gates.train_with(torch.tensor(mask))
        (batch,), items = trainer.get_batch_samples(batches, 1, "cpu")
        trainer.current_gradient_accumulation_steps = 1
        batch = trainer._prepare_inputs(batch)  # GRPO's rollouts
        with torch.autocast("cpu", torch.bfloat16, enabled=trainer.args.bf16):
            loss = trainer.compute_loss(model, batch, num_items_in_batch=items)
        loss.backward()
        norms.append(nn.utils.clip_grad_norm_(model.parameters(), trainer.args.max_grad_norm).item())
        trainer.optimizer.step()
        trainer.lr_scheduler.step()
        trainer.optimizer.zero_grad()
        trainer.state.global_step += 1
    gates.detach()
    return weights(model), norms


def gates_follow_the_schedule(kind: Kind, folder: Path) -> None:
    model, callback, moves, drawn = adapted(dropout=0.3), CoToCallback(SOME, seed=SEED), Moves(), masks(SOME, STEPS)
    watch = Watch(model)
    make(kind, folder, callback, moves, Seeds(), model=model).train()
    assert callback.coto is not None and callback.coto.masks().tolist() == drawn
    assert watch.trained() == moves.moved == drawn and drawn != [WHOLE] * STEPS
    assert same(weights(model), by_hand(make(kind, folder), drawn)[0])


def all_gates_open_is_the_plain_training(kind: Kind, folder: Path) -> None:
    with_coto, plain = make(kind, folder, CoToCallback(Constant(1.0))), make(kind, folder)
    for trainer in (with_coto, plain):
        torch.manual_seed(0)
        trainer.train()
    assert same(weights(with_coto.model), weights(plain.model))
    assert not same(weights(plain.model), weights(adapted()))


def accumulation_with_a_short_last_group(kind: Kind, folder: Path, groups: list[int], **settings: Any) -> None:
    """``groups``: the number of micro-batches in each group of an epoch, the last one shorter."""
    model, moves = adapted(), Moves()
    watch = Watch(model)
    trainer = make(
        kind,
        folder,
        CoToCallback(SOME, seed=SEED),
        moves,
        model=model,
        max_steps=-1,
        num_train_epochs=2,
        gradient_accumulation_steps=groups[0],
        **settings,
    )
    trainer.train()
    sizes = groups * 2
    drawn = masks(SOME, len(sizes))
    assert trainer.state.global_step == len(sizes) and moves.moved == drawn
    assert watch.trained() == [mask for mask, size in zip(drawn, sizes, strict=True) for _ in range(size)]


def clipping(kind: Kind, folder: Path) -> None:
    settings = {"max_grad_norm": 1e-3, "logging_strategy": "steps", "logging_steps": 1}
    trainer = make(kind, folder, CoToCallback(SOME, seed=SEED), Seeds(), **settings)
    trainer.train()
    expected, norms = by_hand(make(kind, folder, **settings), masks(SOME, STEPS))
    assert same(weights(trainer.model), expected)
    assert [entry["grad_norm"] for entry in trainer.state.log_history if "grad_norm" in entry] == norms
    assert max(norms) > 1e-3  # it was clipped


def bf16(kind: Kind, folder: Path) -> None:
    trainer = make(kind, folder, CoToCallback(SOME, seed=SEED), Seeds(), bf16=True)
    trainer.train()
    assert same(weights(trainer.model), by_hand(make(kind, folder, bf16=True), masks(SOME, STEPS))[0])
    plain = make(kind, folder, CoToCallback(SOME, seed=SEED), Seeds())
    plain.train()
    assert not same(weights(trainer.model), weights(plain.model))


class Recomputed(transformers.TrainerCallback):
    """The blocks that checkpointing computed a second time, in the backward pass of each micro-batch."""

    def __init__(self, model: nn.Module):
        self.blocks: list[set[int]] = [set()]
        for block, layer in enumerate(model.get_base_model().model.layers):
            layer.input_layernorm.register_forward_pre_hook(lambda *_, block=block: self._look(block))

    def _look(self, block: int) -> None:
        if torch._C._current_graph_task_id() != -1:  # this is inside a backward pass
            self.blocks[-1].add(block)

    def on_substep_end(self, *_: Any, **__: Any) -> None:
        self.blocks.append(set())

    on_step_end = on_substep_end


def checkpointing(kind: Kind, folder: Path) -> None:
    model, callback = adapted(), CoToCallback(ONE, seed=SEED)
    recomputed = Recomputed(model)
    twice: dict[str, Any] = {"rows": 8, "gradient_accumulation_steps": 2}
    plain = make(kind, folder, CoToCallback(ONE, seed=SEED), model=adapted(), **twice)
    trainer = make(
        kind,
        folder,
        callback,
        recomputed,
        model=model,
        gradient_checkpointing=True,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        **twice,
    )
    for each in (plain, trainer):
        torch.manual_seed(0)
        each.train()
    assert same(weights(model), weights(plain.model))
    lowest = [mask.index(True) for mask in masks(ONE, STEPS) for _ in range(2)]
    assert max(lowest) > 0
    assert recomputed.blocks[:-1] == [set(range(block, BLOCKS)) for block in lowest]


def compiled(kind: Kind, folder: Path) -> None:
    moves = Moves()
    drawn = CoToCallback(SOME, seed=SEED)
    settings = {"torch_compile": True, "torch_compile_backend": "aot_eager"}
    trainer, plain = make(kind, folder, drawn, moves, model=adapted(), **settings), make(kind, folder, drawn, model=adapted())
    for each in (trainer, plain):
        torch.manual_seed(0)
        each.train()
    assert moves.moved == masks(SOME, STEPS)
    for name, weight in weights(plain.model).items():
        torch.testing.assert_close(weights(trainer.model)[name], weight)


def evaluation_during_training(kind: Kind, folder: Path, random: bool = False) -> None:
    """``random``: the loss of an evaluation depends on samples, so that two evaluations differ."""
    model = adapted()
    watch = Watch(model)
    trainer = make(kind, folder, CoToCallback(ONE), model=model, eval_on_start=True, **EVALUATED)
    trainer.train()
    evaluated = [each.mask for each in watch.passes if not each.training]
    assert all(mask in (WHOLE, [False] * BLOCKS) for mask in evaluated)  # all of it, or none for the reference
    assert evaluated.count(WHOLE) >= 2 * (STEPS + 1)  # two batches each time
    assert all(sum(mask) == 1 for mask in watch.trained())  # while p = 0 leaves one open
    if not random:
        reported = [entry["eval_loss"] for entry in trainer.state.log_history if "eval_loss" in entry]
        assert reported[-1] == trainer.evaluate()["eval_loss"] != reported[0]


class Generates(transformers.TrainerCallback):
    """Generates from the model as it is, in the middle of a step and after it, and then from the model in evaluation mode."""

    def __init__(self) -> None:
        self.pairs: list[tuple[Tensor, Tensor]] = []

    def on_substep_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        assert model.training
        texts = [model.train(mode).generate(input_ids=tiny.TOKENS, max_new_tokens=3, do_sample=False) for mode in (True, False)]
        model.train()
        self.pairs.append((texts[0], texts[1]))

    on_step_end = on_substep_end


def generation_during_training(kind: Kind, folder: Path) -> None:
    model, generates = adapted(), Generates()
    watch = Watch(model)
    callbacks = [CoToCallback(ONE), generates]
    make(kind, folder, *callbacks, model=model, rows=8, gradient_accumulation_steps=2).train()
    assert len(generates.pairs) == 2 * STEPS and all(torch.equal(*pair) for pair in generates.pairs)
    generated = [each.mask for each in watch.passes if not each.gradients]
    assert all(mask in (WHOLE, [False] * BLOCKS) for mask in generated) and generated.count(WHOLE) >= 6 * len(generates.pairs)
    assert all(sum(mask) == 1 for mask in watch.trained())


BEST = {"load_best_model_at_end": True, "metric_for_best_model": "eval_loss", "save_strategy": "steps", "save_steps": 1}


def early_stopping(kind: Kind, folder: Path) -> None:
    model = adapted()
    watch = Watch(model)
    stops = transformers.EarlyStoppingCallback(early_stopping_patience=1, early_stopping_threshold=100.0)
    trainer = make(kind, folder, CoToCallback(SOME, seed=SEED), stops, model=model, max_steps=9, **EVALUATED, **BEST)
    trainer.train()
    assert trainer.state.global_step == 2 and watch.trained() == masks(SOME, 9)[:2]
    with pytest.raises(ValueError, match="carries no gates"):
        gates_of(model)


def best_model_at_the_end(kind: Kind, folder: Path) -> None:
    """The best is that of the highest loss, so that it is not the last one."""
    model = adapted()
    trainer = make(kind, folder, CoToCallback(SOME, seed=SEED), model=model, greater_is_better=True, **EVALUATED, **BEST)
    trainer.train()
    assert trainer.state.best_global_step < STEPS
    saved = peft.PeftModel.from_pretrained(tiny.llama(layers=BLOCKS), trainer.state.best_model_checkpoint, is_trainable=True)
    assert same(weights(model), weights(saved))
    with pytest.raises(ValueError, match="carries no gates"):
        gates_of(model)


def resume(kind: Kind, folder: Path) -> None:
    whole, resumed = (make(kind, folder, CoToCallback(SOME, seed=SEED), max_steps=6, **SAVED) for _ in range(2))
    whole.train()
    resumed.train(resume_from_checkpoint=str(folder / "checkpoint-3"))
    assert same(weights(resumed.model), weights(whole.model))


def resume_with_more_steps(kind: Kind, folder: Path) -> None:
    make(kind, folder, CoToCallback(Linear(), seed=SEED), max_steps=3, **SAVED).train()
    model = adapted()
    watch = Watch(model)
    trainer = make(kind, folder, CoToCallback(Linear(), seed=SEED), model=model, max_steps=8)
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-3"))
    assert watch.trained() == masks(Linear(), 8)[3:]


def epochs(kind: Kind, folder: Path) -> None:
    model = adapted()
    watch = Watch(model)
    trainer = make(kind, folder, CoToCallback(Linear(), seed=SEED), model=model, max_steps=-1, num_train_epochs=2)
    trainer.train()
    assert trainer.state.epoch == 2 and trainer.state.global_step > STEPS
    assert watch.trained() == masks(Linear(), trainer.state.global_step)


def data_of_unknown_length(kind: Kind, folder: Path) -> None:
    model = adapted()
    watch = Watch(model)
    make(kind, folder, CoToCallback(SOME, seed=SEED), model=model, rows=kind.data(10).to_iterable_dataset()).train()
    assert watch.trained() == masks(SOME, STEPS)
