"""Two processes of a gloo group on the CPU train what one does: `fit`, the callback in a Trainer, and a loop of one's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file
from same import same
from torch import Tensor, nn
from trained_together import loop, peft_model, trainer
from two_ranks import run_two_apart

from coto_lab import Run, Task, Training, fit

# What each of two processes runs: a training of ours, Trainers with the callback, and a loop on accelerate.
_WORKER = """
import dataclasses, json, os, pathlib, random, sys
import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from trained_together import loop, peft_model, trainer
from coto_lab import Linear, Recipe, Training, fit, load_task
out, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])
torch.manual_seed(rank); random.seed(rank)  # ranks agree though their own random numbers differ
recipe = Recipe(schedule=Linear(), steps=6, batch_size=8)
task = load_task("digits")
training = Training(task, recipe)
for _ in training:
    pass
training.run().save(out / f"rank{rank}")
training.save(out / f"state{rank}")
facts = {"processes": training.accelerator.num_processes}

def added():
    base = task.load_base()
    base.add_adapter(recipe.peft_config(task.target_modules))
    base.gradient_checkpointing_enable()
    return base

def reentrant():
    model = peft_model(task)
    model.gradient_checkpointing_enable({"use_reentrant": True})
    return model

def trained_with(**settings):
    handlers = [DistributedDataParallelKwargs(**settings)]
    return Training(task, recipe, accelerator=Accelerator(kwargs_handlers=handlers))

refused = {
    "uneven": lambda: Training(task, dataclasses.replace(recipe, batch_size=7)),
    "other seed": lambda: Training(task, dataclasses.replace(recipe, seed=rank)),
    "other rate": lambda: Training(task, dataclasses.replace(recipe, lr=0.1 * (1 + rank))),
    "other files": lambda: fit(task, recipe, checkpoint=out / f"state{rank}", progress=False),
    "no search": lambda: trained_with(),
    "static graph": lambda: trained_with(find_unused_parameters=True, static_graph=True),
    "false": lambda: trainer(task, peft_model(task), out, ddp_find_unused_parameters=False).train(),
    "static": lambda: trainer(task, peft_model(task), out, ddp_static_graph=True).train(),
    "chosen": lambda: trainer(task, added(), out).train(),
    "reentrant": lambda: trainer(task, reentrant(), out).train(),
    "gates' seed": lambda: trainer(task, peft_model(task), out, gates_seed=rank).train(),
}
for name, attempt in refused.items():
    try:
        attempt()
    except ValueError as error:
        facts[name] = str(error)
mine = trainer(task, peft_model(task), out, per_device_train_batch_size=4)
mine.train()
mine.save_model(out / f"trainer{rank}")
model, accelerator = loop(task, per_process=4)
if accelerator.is_main_process:
    model.save_pretrained(out / "loop", save_embedding_layers=False)
for way, trained in (("Trainer", mine.model), ("loop", model)):
    facts[way] = [p.double().sum().item() for p in trained.parameters() if p.requires_grad]
(out / f"rank{rank}.json").write_text(json.dumps(facts))
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the two ranks of a gloo group on the CPU left what they did."""
    out = tmp_path_factory.mktemp("two_processes")
    run_two_apart(_WORKER, out)
    return out


def both(two_processes: Path) -> list[dict]:
    return [json.loads((two_processes / f"rank{rank}.json").read_text()) for rank in range(2)]


def weights(model: nn.Module) -> dict[str, Tensor]:
    """The adapter, under the names that its file has; PEFT is not to look for the base model on the hub."""
    return get_peft_model_state_dict(model, save_embedding_layers=False)


def check_moved_alike(start: Mapping[str, Tensor], together: Mapping[str, Tensor], alone: Mapping[str, Tensor]) -> None:
    """AdamW divides by a gradient's size, so where it is next to 0 rounding shows: the whole movement is compared."""
    assert start.keys() == together.keys() == alone.keys()
    for key, before in start.items():
        moved = (alone[key] - before).norm()
        assert (together[key] - alone[key]).norm() <= 0.01 * moved, key
    assert any(not torch.equal(alone[key], before) for key, before in start.items())


def test_two_processes_train_the_weights_of_one(two_processes: Path, task: Task) -> None:
    assert both(two_processes)[0]["processes"] == 2
    first, second = Run.load(two_processes / "rank0"), Run.load(two_processes / "rank1")
    alone = fit(task, first.recipe, progress=False)
    assert torch.equal(first.history.mask, second.history.mask) and torch.equal(first.history.mask, alone.history.mask)
    assert same(first.adapter, second.adapter)
    torch.testing.assert_close(first.history.loss, alone.history.loss, rtol=1e-4, atol=1e-5)
    start = Training(task, first.recipe).run().adapter.tensors
    check_moved_alike(start, first.adapter.tensors, alone.adapter.tensors)


def test_a_trainer_and_a_loop_of_two_train_the_weights_of_one(two_processes: Path, task: Task, tmp_path: Path) -> None:
    start = weights(peft_model(task))
    mine = trainer(task, peft_model(task), tmp_path, per_device_train_batch_size=8)
    mine.train()
    alone = {"trainer0": mine.model, "loop": loop(task, per_process=8)[0]}
    for folder, model in alone.items():
        together = load_file(two_processes / folder / "adapter_model.safetensors")
        check_moved_alike(start, together, weights(model))


@pytest.mark.parametrize("way", ["Trainer", "loop"])
def test_processes_end_with_equal_weights(two_processes: Path, way: str) -> None:
    first, second = both(two_processes)
    assert first[way] == second[way] and any(first[way])


def test_one_process_saves(two_processes: Path) -> None:
    saved = {path.name for path in two_processes.iterdir()}
    assert {"state0", "trainer0"} <= saved and not {"state1", "trainer1"} & saved


def test_one_process_goes_on_from_the_state_of_two(two_processes: Path, task: Task) -> None:
    run = Run.load(two_processes / "rank0")
    assert same(fit(task, run.recipe, checkpoint=two_processes / "state0", progress=False).adapter, run.adapter)


@pytest.mark.parametrize(
    ("case", "advice"),
    [
        ("uneven", "batch_size=7 cannot be shared evenly by 2 processes"),
        ("other seed", "seed is 0 on process 0 and 1 on process 1"),
        ("other rate", "recipe.lr is 0.1 on process 0 and 0.2 on process 1"),
        ("other files", "steps_in_the_checkpoint is 6 on process 0 and 0 on process 1"),
        ("no search", "DistributedDataParallel has find_unused_parameters=False and static_graph=False"),
        ("static graph", "DistributedDataParallel has find_unused_parameters=True and static_graph=True"),
        ("false", "set TrainingArguments(ddp_find_unused_parameters=True)"),
        ("static", "remove ddp_static_graph=True from TrainingArguments"),
        ("chosen", "set TrainingArguments(ddp_find_unused_parameters=True)"),
        ("reentrant", "TrainingArguments(gradient_checkpointing_kwargs={'use_reentrant': False})"),
        ("gates' seed", "seed is 0 on process 0 and 1 on process 1"),
    ],
)
def test_what_processes_cannot_do_is_refused_on_each(two_processes: Path, case: str, advice: str) -> None:
    first, second = both(two_processes)
    assert advice in first[case] and first[case] == second[case]
