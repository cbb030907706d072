"""DeepSpeed of two processes on the CPU: under ZeRO, too, a dropped adapter stays as it is, and open ones train as usual."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from sharded import train
from two_ranks import run_two

# DeepSpeed is kept from compiling its own communication through shared memory; without it, it takes gloo.
_WORKER = """
import json, os, pathlib, sys
os.environ["DS_ACCELERATOR"] = "cpu"
import deepspeed, peft, torch
from datasets import Dataset
from sharded import ROWS, moved_blocks, train, weights
from tiny_models import adapted
from transformers import Trainer, TrainerCallback, TrainingArguments
from coto_lab import CoToCallback, Constant
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
out, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])

def config(stage):
    return {
        "zero_optimization": {"stage": stage},
        "train_micro_batch_size_per_gpu": 2,
        "communication_data_type": "fp32",
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
    }

def trained(stage, **settings):
    start = lambda model, optimizer: deepspeed.initialize(
        model=model, optimizer=optimizer, config=config(stage) | settings
    )[0]
    return train(slice(rank, None, 2), start=start)

for stage in (0, 1, 2):
    found = trained(stage)
    if rank == 0:
        torch.save(found, out / f"{stage}.pt")

class Watch(TrainerCallback):
    def on_train_begin(self, *_, **__):
        self.moved = []

    def on_step_begin(self, args, state, control, model, **_):
        self.before = weights(model)

    def on_step_end(self, args, state, control, model, **_):
        self.moved.append(moved_blocks(self.before, weights(model)))

args = TrainingArguments(out / "trainer", max_steps=6, per_device_train_batch_size=2, report_to=[], disable_tqdm=True,
    use_cpu=True, save_strategy="no", deepspeed=config(2), weight_decay=0.1, learning_rate=1e-2)
data = Dataset.from_dict({"input_ids": ROWS.tolist(), "labels": ROWS.tolist()})
gates, watch = CoToCallback(Constant(0.4), seed=1), Watch()
mine = Trainer(model=adapted(), args=args, train_dataset=data, callbacks=[gates, watch])
mine.train()
mine.save_model(out / f"saved{rank}")
facts = {"moved": watch.moved, "masks": gates.coto.masks().tolist()}
for name, stage, settings in [("ZeRO-3", 3, {}), ("bf16 without ZeRO", 0, {"bf16": {"enabled": True}})]:
    try:
        trained(stage, **settings)
    except ValueError as error:
        facts[name] = str(error)
(out / f"rank{rank}.json").write_text(json.dumps(facts))
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("deepspeed")
    run_two(_WORKER, out)
    return out


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_two_processes_train_the_weights_of_one(engines: Path, stage: int) -> None:
    torch.testing.assert_close(torch.load(engines / f"{stage}.pt"), train(), rtol=1e-4, atol=1e-6)


def test_in_a_trainer_open_adapters_move_and_dropped_ones_do_not(engines: Path) -> None:
    for rank in range(2):
        facts = json.loads((engines / f"rank{rank}.json").read_text())
        assert facts["moved"] == facts["masks"]


@pytest.mark.parametrize(("case", "stages"), [("ZeRO-3", "2"), ("bf16 without ZeRO", "1 or 2")])
def test_what_cannot_keep_dropped_adapters_still_is_refused_on_each_process(engines: Path, case: str, stages: str) -> None:
    for rank in range(2):
        facts = json.loads((engines / f"rank{rank}.json").read_text())
        assert f"Set the stage of zero_optimization in DeepSpeed's configuration to {stages}" in facts[case]


def test_one_process_saves_the_adapter(engines: Path) -> None:
    assert (engines / "saved0/adapter_model.safetensors").exists() and not (engines / "saved1").exists()
