"""Two processes of a gloo group on the CPU: `fit`, and the callback in a Trainer, train as one does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from same import same
from two_ranks import run_two

from coto_lab import Run, Task, Training, fit

# What each of two processes runs: a training of ours, and Trainers with the callback.
_WORKER = """
import dataclasses, json, os, pathlib, random, sys
import torch
from transformers import Trainer, TrainingArguments
from coto_lab import CoToCallback, Constant, Linear, Recipe, Training, load_task
out, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])
torch.manual_seed(rank); random.seed(rank)  # ranks agree though their own random numbers differ
recipe = Recipe(schedule=Linear(), steps=6, batch_size=8)
task = load_task("digits")
training = Training(task, recipe)
for _ in training:
    pass
training.run().save(out / f"rank{rank}")
training.save(out / "state")
facts = {"processes": training.accelerator.num_processes}
try:
    Training(task, dataclasses.replace(recipe, batch_size=7))
except ValueError as error:
    facts["uneven"] = str(error)

def trainer(model, **settings):
    args = TrainingArguments(out / "trainer", max_steps=3, per_device_train_batch_size=4, report_to=[], disable_tqdm=True,
        use_cpu=True, save_strategy="no", gradient_accumulation_steps=2, **settings)
    callback = CoToCallback(Constant(0.3), seed=1)
    return Trainer(model=model, args=args, train_dataset=task.train, callbacks=[callback])

def peft_model():
    torch.manual_seed(0)
    from peft import get_peft_model
    return get_peft_model(task.load_base(), recipe.peft_config(task.target_modules))

def added():
    base = task.load_base()
    base.add_adapter(recipe.peft_config(task.target_modules))
    base.gradient_checkpointing_enable()
    return base

def reentrant():
    model = peft_model()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    return model

cases = {
    "false": (peft_model(), {"ddp_find_unused_parameters": False}),
    "chosen": (added(), {}),
    "reentrant": (reentrant(), {}),
}
for name, (model, settings) in cases.items():
    try:
        trainer(model, **settings).train()
    except ValueError as error:
        facts[name] = str(error)
model = peft_model()
trainer(model, ddp_find_unused_parameters=True).train()
facts["sums"] = [p.double().sum().item() for p in model.parameters() if p.requires_grad]
(out / f"rank{rank}.json").write_text(json.dumps(facts))
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two ranks of a gloo group on the CPU left what they did."""
    out = tmp_path_factory.mktemp("two_processes")
    run_two(_WORKER, out)
    return out


def test_two_processes_train_the_weights_of_one(two_processes: Path, task: Task) -> None:
    facts = json.loads((two_processes / "rank0.json").read_text())
    assert facts["processes"] == 2
    first, second = Run.load(two_processes / "rank0"), Run.load(two_processes / "rank1")
    alone = fit(task, first.recipe, progress=False)
    assert torch.equal(first.history.mask, second.history.mask) and torch.equal(first.history.mask, alone.history.mask)
    assert same(first.adapter, second.adapter)
    torch.testing.assert_close(first.history.loss, alone.history.loss, rtol=1e-4, atol=1e-5)
    start = Training(task, first.recipe).run().adapter.tensors
    for key, tensor in alone.adapter.tensors.items():
        # AdamW divides by a gradient's size, so where it is next to 0 rounding shows: compare the whole movement.
        moved = (tensor - start[key]).norm()
        assert (first.adapter.tensors[key] - tensor).norm() <= 0.01 * moved, key


def test_a_batch_that_processes_cannot_share_evenly_is_refused(two_processes: Path) -> None:
    for rank in range(2):
        facts = json.loads((two_processes / f"rank{rank}.json").read_text())
        assert re.match(r"batch_size=7 cannot be shared evenly by 2 processes", facts["uneven"])


def test_one_process_goes_on_from_the_state_of_two(two_processes: Path, task: Task) -> None:
    run = Run.load(two_processes / "rank0")
    assert same(fit(task, run.recipe, checkpoint=two_processes / "state", progress=False).adapter, run.adapter)


@pytest.mark.parametrize(
    ("case", "advice"),
    [
        ("false", "set TrainingArguments(ddp_find_unused_parameters=True)"),
        ("chosen", "set TrainingArguments(ddp_find_unused_parameters=True)"),
        ("reentrant", "TrainingArguments(gradient_checkpointing_kwargs={'use_reentrant': False})"),
    ],
)
def test_trainer_under_ddp_says_what_dropping_needs(two_processes: Path, case: str, advice: str) -> None:
    for rank in range(2):
        facts = json.loads((two_processes / f"rank{rank}.json").read_text())
        assert advice in facts[case]


def test_trainer_under_ddp_keeps_the_ranks_equal(two_processes: Path) -> None:
    first, second = (json.loads((two_processes / f"rank{rank}.json").read_text())["sums"] for rank in range(2))
    assert first == second and any(first)
