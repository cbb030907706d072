"""FSDP2 of two processes on the CPU shards a gated model, and trains the weights of one process with the whole batch.

accelerate shards on accelerators only, so its ``prepare`` is not tested here; the function that it calls is.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from sharded import train
from two_ranks import run_two

_WORKER = """
import os, pathlib, sys
import torch
from sharded import train
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
out, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])
mesh = init_device_mesh("cpu", (2,))

def shard(model):
    for block in model.base_model.model.model.layers:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)

for order, gates_first in (("gates first", True), ("shards first", False)):
    found = train(slice(rank, None, 2), shard, gates_first=gates_first)
    if rank == 0:
        torch.save(found, out / f"{order}.pt")
torch.distributed.destroy_process_group()
"""


@pytest.fixture(scope="module")
def sharded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fsdp2")
    run_two(_WORKER, out)
    return out


@pytest.mark.parametrize("order", ["gates first", "shards first"])
def test_two_processes_train_the_weights_of_one(sharded: Path, order: str) -> None:
    torch.testing.assert_close(torch.load(sharded / f"{order}.pt"), train(), rtol=1e-4, atol=1e-6)
