"""Correctness on an accelerator: what the tests show on a CPU, shown again where kernels, devices and precisions are others.

Each check returns what it measured, as numbers, and raises `Wrong` where that is not as it should be. Each runs in a process
of its own (``python benchmarks/gpu_checks.py NAME``): accelerate keeps one precision for a process, and a kernel that fails
takes its whole process with it.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from _check import Check, falls, python, require
from _setup import random_adapter
from accelerate import Accelerator
from gpu_compiling import compiled
from gpu_gates import checkpointing, gates
from gpu_quantised import quantised
from llama import SMALL, TARGETS, Tokens
from peft import LoraConfig
from torch import nn
from transformers import Trainer, TrainerCallback, TrainingArguments

from coto_lab import (
    Adapter,
    CoToCallback,
    Evaluator,
    Linear,
    Recipe,
    Run,
    Training,
    Variant,
    fit,
    fit_many,
    gates_of,
    load_task,
)  # fmt: skip
from coto_lab.adapters.peft_model import add_adapter
from coto_lab.gating.coto import draw_mask
from coto_lab.ground.device import default_device

_STEPS = 20  # of the trainings that are compared
_ROUNDING = 1e-3  # relative, after them, in float32


# Training


def _distance(a: Adapter, b: Adapter) -> float:
    """How far b's weights are from a's, as a share of the length of a's."""
    square = sum((a.tensors[name] - b.tensors[name]).double().square().sum().item() for name in a.tensors)
    return (square / sum(t.double().square().sum().item() for t in a.tensors.values())) ** 0.5


_RECIPES = {"lora": Recipe(steps=_STEPS), "coto": Recipe(schedule=Linear(), steps=_STEPS)}


def train_and_save(folder: Path) -> None:
    """What the process without an accelerator does."""
    require(default_device().type == "cpu", f"{default_device()} cannot be hidden from a process")
    for name, recipe in _RECIPES.items():
        fit(load_task("digits"), recipe, progress=False).save(folder / name)


def against_cpu() -> dict[str, float]:
    """`fit` draws the same gates here as on the CPU, and ends at the same weights but for rounding."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        code = f"import pathlib, gpu_checks; gpu_checks.train_and_save(pathlib.Path({folder!r}))"
        python("-c", code, CUDA_VISIBLE_DEVICES="")
        for name, recipe in _RECIPES.items():
            there, here = Run.load(Path(folder) / name), fit(load_task("digits"), recipe, progress=False)
            require(torch.equal(there.history.mask, here.history.mask), f"{name}: other gates than on the CPU")
            distance = _distance(there.adapter, here.adapter)
            require(distance < _ROUNDING, f"{name}: weights differ from the CPU's by {distance:.2g} of their length")
            losses = (there.history.loss - here.history.loss).abs().max().item()
            figures |= {f"{name}_weights": distance, f"{name}_loss": losses}
    return figures


def many_against_fit() -> dict[str, float]:
    """The rows of `fit_many`, and what it trains in processes of their own, are the runs of `fit`, but for rounding."""
    task, rows = load_task("digits"), [replace(recipe, seed=seed) for recipe in _RECIPES.values() for seed in range(2)]
    alone = [replace(_RECIPES["coto"], dropout=0.1), replace(_RECIPES["coto"], method="dora")]
    recipes = [*rows, *alone]
    runs = fit_many(task, recipes, n_jobs=2, progress=False)
    distances = [
        _distance(fit(task, recipe, progress=False).adapter, run.adapter) for recipe, run in zip(recipes, runs, strict=True)
    ]
    figures = dict(zip(("rows", "dropout", "dora"), (max(distances[: len(rows)]), *distances[len(rows) :]), strict=True))
    require(max(distances) < _ROUNDING, f"weights differ, as a share of their length: {figures}")
    return figures


def resumed() -> dict[str, float]:
    """A training that was saved and loaded half way ends at the same bits."""
    task, recipe = load_task("digits"), replace(_RECIPES["coto"], dropout=0.1)
    whole, first, second = (Training(task, recipe) for _ in range(3))
    for training, steps in ((whole, _STEPS), (first, _STEPS // 2)):
        for _ in range(steps):
            training.step()
    with tempfile.TemporaryDirectory() as folder:
        first.save(Path(folder) / "half.safetensors")
        second.load(Path(folder) / "half.safetensors")
    distance = _distance(whole.run().adapter, _finished(second).adapter)
    require(distance == 0, f"weights differ by {distance:.2g} of their length")
    return {"weights": distance}


def _finished(training: Training) -> Run:
    for _ in training:
        pass
    return training.run()


def bf16_base() -> dict[str, float]:
    """CoTo trains float32 factors on a base in bf16."""
    recipe = Recipe(schedule=Linear(0.5), steps=_STEPS, lr=5e-3, batch_size=8)
    run = fit(Tokens(SMALL, torch.bfloat16, examples=8), recipe, progress=False)
    require({t.dtype for t in run.adapter.tensors.values()} == {torch.float32}, "the adapter is not in float32")
    return falls(run.history.loss)


def bf16_autocast() -> dict[str, float]:
    """CoTo trains on a base in float32 that computes in bf16."""
    training = Training(load_task("digits"), _RECIPES["coto"], accelerator=Accelerator(mixed_precision="bf16"))
    return falls(_finished(training).history.loss)


class _Watch(TrainerCallback):
    """Keeps the gates of every optimiser step."""

    def __init__(self, model: nn.Module):
        self.model, self.masks = model, []

    def on_pre_optimizer_step(self, args: object, state: object, control: object, **_: object) -> None:
        self.masks.append(gates_of(self.model).mask)


def trainer() -> dict[str, float]:
    """An unmodified Trainer with `CoToCallback`, in bf16, with accumulation and checkpointing: the masks are those of CoTo."""
    task, steps = Tokens(SMALL, torch.bfloat16, examples=16), 8
    rows = [{"input_ids": tokens, "labels": tokens} for tokens in task.batch("train", range(16))["input_ids"]]
    model = add_adapter(task.load_base(), LoraConfig(r=4, target_modules=list(TARGETS)))
    watch = _Watch(model)
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            folder, max_steps=steps, per_device_train_batch_size=2, gradient_accumulation_steps=2, learning_rate=1e-3,
            bf16=True, use_cpu=default_device().type == "cpu",
            gradient_checkpointing=True, gradient_checkpointing_kwargs={"use_reentrant": False},
            save_strategy="no", logging_strategy="no", report_to=[], disable_tqdm=True,
        )  # fmt: skip
        callbacks = [CoToCallback(Linear(), seed=3), watch]
        result = Trainer(model=model, args=args, train_dataset=rows, callbacks=callbacks).train()
    require(math.isfinite(result.training_loss), f"the loss is {result.training_loss}")
    expected = [draw_mask(SMALL.layers, Linear()(step / steps), seed=3, step=step) for step in range(steps)]
    require(len(watch.masks) == steps, f"{len(watch.masks)} optimiser steps, not {steps}")
    require(torch.equal(torch.stack(watch.masks), torch.stack(expected)), "other gates than CoTo's")
    return {"loss": result.training_loss}


# Scoring


def evaluator(dtype: torch.dtype, tolerance: float) -> dict[str, float]:
    """What is scored together, in a tree of blocks, is what is scored one by one.

    Losses may differ by ``tolerance`` of what they differ by from variant to variant.
    """
    task = Tokens(SMALL, dtype, examples=16)
    adapters = [random_adapter(task, seed, rank=8) for seed in range(2)]
    masks = [draw_mask(SMALL.layers, 0.5, seed=0, step=step) for step in range(12)]
    variants = [Variant(adapter, mask) for adapter in adapters for mask in masks]
    together = Evaluator(task)
    fast, slow = (scorer(variants).values["loss"] for scorer in (together, Evaluator(task, together=False)))
    require(None not in together._trees.values(), "the variants were not scored together")
    difference, spread = (fast - slow).abs().max().item(), slow.std(0).mean().item()
    require(difference < tolerance * spread, f"losses differ by {difference:.2g} nats, and by variant by {spread:.2g}")
    return {"difference": difference, "spread": spread}


CHECKS: dict[str, Check] = {
    "gates.float32": partial(gates, torch.float32),
    "gates.bf16": partial(gates, torch.bfloat16),
    "fit_against_cpu": against_cpu,
    "fit_many_against_fit": many_against_fit,
    "resumed": resumed,
    "bf16_base": bf16_base,
    "bf16_autocast": bf16_autocast,
    "checkpointing": checkpointing,
    "compiled": compiled,
    "trainer": trainer,
    "evaluator.float32": partial(evaluator, torch.float32, 1e-3),
    "evaluator.bf16": partial(evaluator, torch.bfloat16, 0.5),
    "stored.bf16": partial(quantised, None),
    "stored.int8": partial(quantised, "int8"),
    "stored.nf4": partial(quantised, "nf4"),
}


def summary(check: Check) -> str:
    """The first sentence of what a check says of itself."""
    return str(getattr(check, "func", check).__doc__).split(".\n")[0].removesuffix(".")


def run_alone(name: str) -> dict[str, float]:
    """A check in a process of its own.

    Raises:
        Wrong: it did not hold, or broke; the message is the end of what the process said.
    """
    found: dict[str, float] = json.loads(python(__file__, name).splitlines()[-1])
    return found


if __name__ == "__main__":
    print(json.dumps(CHECKS[sys.argv[1]]()))
