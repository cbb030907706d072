from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import peft
import pytest
import torch
from datasets import Dataset
from same import same
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR
from transformers import get_scheduler

from coto_lab import Adapter, Constant, Evaluator, Linear, Recipe, Run, Task, Training, Variant, fit
from coto_lab.ground.randomness import batch_indices
from coto_lab.training.history import Step
from coto_lab.training.recipe import DECAYS


def plain_peft(task: Task, recipe: Recipe) -> Adapter:
    """Fine-tuning as anyone would write it with PEFT, without a line of ours but the order of the data."""
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        base = task.load_base()
        targets = list(task.target_modules)
        if recipe.method == "hira":
            config = peft.HiraConfig(r=recipe.r, hira_dropout=recipe.dropout, target_modules=targets)
        else:
            config = peft.LoraConfig(
                r=recipe.r,
                lora_alpha=recipe.alpha,
                lora_dropout=recipe.dropout,
                use_dora=recipe.method == "dora",
                target_modules=targets,
            )
        model = peft.get_peft_model(base, config).train()
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)
        for step in range(recipe.steps):
            rows = task.train[batch_indices(len(task.train), recipe.batch_size, recipe.seed, step).tolist()]
            logits = model(pixel_values=rows["pixel_values"]).logits[:, : len(task.classes)]
            F.cross_entropy(logits, rows["labels"]).backward()
            optimizer.param_groups[0]["lr"] = recipe.lr * (1 - step / recipe.steps)
            optimizer.step()
            optimizer.zero_grad()
        return Adapter.from_model(model)


@pytest.mark.parametrize("method", ["lora", "dora", "hira"])
def test_p_1_is_bitwise_plain_peft_with_dropout_on(task: Task, method: str) -> None:
    recipe = Recipe(method=method, schedule=Constant(1.0), dropout=0.3, weight_decay=0.1, steps=4, batch_size=8, seed=3)
    assert same(fit(task, recipe, progress=False).adapter, plain_peft(task, recipe))


def test_global_random_numbers_are_untouched(task: Task) -> None:
    def states() -> list:
        return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]

    before = states()
    fit(task, Recipe(schedule=Linear(), dropout=0.2, steps=3, batch_size=4), progress=False)
    assert states() == before


def test_a_run_does_not_depend_on_the_global_random_numbers(tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1234)
        assert same(fit(tiny_task, recipe, progress=False).adapter, runs[0].adapter)


def test_alternating_trainings_equal_the_two_alone(tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run]) -> None:
    trainings = Training(tiny_task, recipe), Training(tiny_task, replace(recipe, seed=1))
    for _ in zip(*trainings, strict=True):
        pass
    for training, alone in zip(trainings, runs, strict=True):
        assert same(training.run().adapter, alone.adapter)
        assert torch.equal(training.history().loss, alone.history.loss)
    assert not same(runs[0].adapter, runs[1].adapter)


def test_history_is_what_coto_announced(tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run]) -> None:
    training, history = Training(tiny_task, recipe), runs[0].history
    assert torch.equal(history.mask, training.coto.masks())
    assert 0 < history.mask.float().mean() < 1
    assert history.p.tolist() == [recipe.schedule(t / recipe.steps) for t in range(recipe.steps)]
    assert history.gates == training.gates.names and history.modules == training.gates.modules
    assert len(history) == recipe.steps and (history.seconds > 0).all()


def test_on_step_sees_every_record_that_the_history_holds(tiny_task: Task, recipe: Recipe) -> None:
    records: list[Step] = []
    history = fit(tiny_task, recipe, on_step=records.append, progress=False).history
    assert [record.step for record in records] == list(range(recipe.steps))
    for record, row in zip(records, history.steps(), strict=True):
        assert record.loss == row.loss and torch.equal(record.mask, row.mask) and torch.equal(record.grad_norm, row.grad_norm)
    frame = history.frame()
    assert frame["loss"].tolist() == [record.loss for record in records]
    assert frame["open"].tolist() == [int(record.mask.sum()) for record in records]


def test_gradient_norms_are_those_of_the_gradients_and_0_where_dropped(tiny_task: Task, recipe: Recipe) -> None:
    training = Training(tiny_task, recipe)
    gradients: dict[str, np.ndarray] = {}
    for name, parameter in training.model.named_parameters():
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(lambda p, name=name: gradients.update({name: p.grad.numpy().copy()}))
    for record in training:
        for i, module in enumerate(training.gates.modules):
            squares = [(g.astype(float) ** 2).sum() for name, g in gradients.items() if f".{module}." in name]
            assert record.module_grad_norm[i].item() == pytest.approx(sum(squares) ** 0.5, rel=1e-5)
        for i, gate in enumerate(training.gates.names):
            squares = [(g.astype(float) ** 2).sum() for name, g in gradients.items() if f".{gate}." in name]
            assert record.grad_norm[i].item() == pytest.approx(sum(squares) ** 0.5, rel=1e-5)
            assert (record.grad_norm[i] > 0) == record.mask[i] == bool(squares)
        gradients.clear()


def test_a_step_moves_the_open_blocks_and_leaves_dropped_ones_bitwise_alone(tiny_task: Task, recipe: Recipe) -> None:
    training = Training(tiny_task, replace(recipe, schedule=Constant(0.5)))
    before = training.run().adapter.tensors
    for record in training:
        after = training.run().adapter.tensors
        for gate, is_open in zip(training.gates.names, record.mask.tolist(), strict=True):
            keys = [key for key in after if f".{gate}." in key]
            assert len(keys) == 4  # A and B of two modules
            assert any(not torch.equal(before[key], after[key]) for key in keys) == is_open
        before = after


def test_linear_decay_falls_evenly_to_0() -> None:
    recipe = Recipe(lr=0.1, steps=4)
    assert [recipe.learning_rate(t) for t in range(5)] == pytest.approx([0.1, 0.075, 0.05, 0.025, 0])


def test_cosine_decay_is_that_of_torch() -> None:
    recipe = Recipe(lr=0.1, steps=7, decay="cosine")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    oracle = CosineAnnealingLR(optimizer, T_max=7)
    for step in range(7):
        assert recipe.learning_rate(step) == pytest.approx(oracle.get_last_lr()[0])
        optimizer.step()
        oracle.step()


@pytest.mark.parametrize("decay", ["linear", "cosine", "constant"])
def test_the_optimizer_follows_the_decay(tiny_task: Task, recipe: Recipe, decay: str) -> None:
    training = Training(tiny_task, replace(recipe, decay=decay, steps=5))
    used = []
    training.optimizer.optimizer.register_step_pre_hook(lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"]))
    recorded = [record.lr for record in training]
    assert used == recorded == [training.recipe.learning_rate(t) for t in range(5)]


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("warmup_steps", [0, 1, 7])
def test_learning_rates_are_those_of_transformers(decay: str, warmup_steps: int) -> None:
    recipe = Recipe(steps=20, lr=0.1, decay=decay, warmup_steps=warmup_steps)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=recipe.lr)
    name = decay if decay != "constant" else "constant_with_warmup"
    theirs = get_scheduler(name, optimizer, num_warmup_steps=warmup_steps, num_training_steps=recipe.steps)
    for step in range(recipe.steps):
        assert recipe.learning_rate(step) == pytest.approx(theirs.get_last_lr()[0], abs=1e-15)
        optimizer.step()
        theirs.step()


def test_a_long_gradient_is_shortened_and_recorded_as_it_was(tiny_task: Task, recipe: Recipe) -> None:
    free, clipped = (Training(tiny_task, replace(recipe, max_grad_norm=limit)) for limit in (None, 1e-3))
    seen: list[Tensor] = []
    clipped.optimizer.optimizer.register_step_pre_hook(
        lambda *_: seen.append(torch.stack([p.grad.norm() for p in clipped.model.parameters() if p.grad is not None]).norm())
    )
    first = free.step(), clipped.step()
    assert torch.equal(first[0].grad_norm, first[1].grad_norm) and first[0].grad_norm.norm() > 1e-3
    torch.testing.assert_close(seen[0], torch.tensor(1e-3), rtol=1e-3, atol=0)


def test_progressive_dropout_is_in_force_step_by_step(tiny_task: Task, recipe: Recipe) -> None:
    training = Training(tiny_task, replace(recipe, dropout_decay="linear"))
    layer = training.gates.layers[0]
    assert [(training.step(), layer.lora_dropout["default"].p)[1] for _ in range(3)] == [0.2 * (1 - t / 12) for t in range(3)]


def test_a_loss_that_is_not_finite_names_its_step_and_leaves_the_adapter(tiny_task: Task, recipe: Recipe) -> None:
    spoilt = 17
    failing = next(t for t in range(16) if spoilt in batch_indices(30, recipe.batch_size, recipe.seed, t))
    assert failing > 0
    columns = {name: column.numpy().copy() for name, column in tiny_task.train[:].items()}
    columns["pixel_values"][spoilt, 0, 3, 3] = float("nan")
    training = Training(replace(tiny_task, train=Dataset.from_dict(columns).with_format("torch")), recipe)
    for _ in range(failing):
        training.step()
    before = training.run().adapter
    with pytest.raises(FloatingPointError, match=rf"loss of step {failing} is nan; try a learning rate below lr=0\.01"):
        training.step()
    assert same(training.run().adapter, before) and len(training.records) == failing
    assert all(parameter.grad is None for parameter in training.model.parameters())


@pytest.mark.parametrize("method", ["lora", "dora", "hira"])
@pytest.mark.parametrize("schedule", [Constant(), Linear()], ids=["plain", "coto"])
def test_every_method_learns(task: Task, method: str, schedule: Linear) -> None:
    lr = 0.05 if method == "hira" else 0.01  # HiRA has no scale alpha / r, and moves less
    adapter = fit(task, Recipe(method, schedule=schedule, steps=24, lr=lr, batch_size=16), progress=False).adapter
    none = torch.zeros(8, dtype=torch.bool)
    trained, base = Evaluator(task)([Variant(adapter), Variant(adapter, none)], split="train").loss.tolist()
    assert trained < 0.9 * base


@pytest.mark.slow
def test_fp16_is_refused() -> None:
    code = """
from accelerate import Accelerator
from coto_lab import Recipe, Training, load_task
Training(load_task("digits"), Recipe(), accelerator=Accelerator(mixed_precision="fp16", cpu=True))
"""  # in a process of its own: accelerate keeps the precision for all that follows
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ValueError: fp16 mixed precision is not supported: take mixed_precision='bf16', or full" in failed.stderr


def test_checkpoint_every_must_be_positive(tiny_task: Task, recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="checkpoint_every=0: must be a whole number, at least 1"):
        fit(tiny_task, recipe, checkpoint_every=0)
