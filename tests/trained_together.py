"""Two ways to train that another's processes may share: a Trainer with the callback, and a loop of one's own on accelerate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from peft import PeftModel, get_peft_model
from torch import nn
from transformers import Trainer, TrainingArguments

from coto_lab import Constant, CoTo, CoToCallback, Recipe, Task, attach_gates
from coto_lab.gating.ranks import check_agreement, check_wrapped


def peft_model(task: Task) -> PeftModel:
    torch.manual_seed(0)
    return get_peft_model(task.load_base(), Recipe().peft_config(task.target_modules))


def trainer(task: Any, model: nn.Module, out: Path, gates_seed: int = 1, **settings: Any) -> Trainer:
    """Three steps, each of two micro-batches."""
    args = TrainingArguments(
        out / "trainer", max_steps=3, report_to=[], disable_tqdm=True, use_cpu=True, save_strategy="no",
        gradient_accumulation_steps=2, **settings,
    )  # fmt: skip
    callback = CoToCallback(Constant(0.3), seed=gates_seed)
    return Trainer(model=model, args=args, train_dataset=task.train, callbacks=[callback])


def loop(task: Task, per_process: int) -> tuple[PeftModel, Accelerator]:
    """Four steps, as gating/README.md has a loop for several processes."""
    accelerator = Accelerator(cpu=True, kwargs_handlers=[DistributedDataParallelKwargs(find_unused_parameters=True)])
    model = peft_model(task).train()
    coto = CoTo(attach_gates(model), Constant(0.3), total_steps=4, seed=2)
    check_agreement(coto)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    check_wrapped(wrapped)
    for step in range(4):
        first = (step * accelerator.num_processes + accelerator.process_index) * per_process
        batch = task.batch("train", range(first, first + per_process))
        accelerator.backward(task.loss(task.predict(wrapped, batch), batch).mean())
        optimizer.step()
        optimizer.zero_grad()
        coto.step()
    return model, accelerator
