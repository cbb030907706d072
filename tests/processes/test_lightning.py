"""Lightning's DistributedDataParallel of two processes: the same gates, and the weights of one process with whole batches."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import Tensor
from torch.utils.data import DataLoader
from trained_by_hand import SEED, rows
from trained_weights import weights
from trainers.test_lightning import Module, pytestmark, trainer_of  # noqa: F401
from two_ranks import run_two

from coto_lab import Linear
from coto_lab.gating.lightning import CoToLightning

_WORKER = """
import json, os, pathlib, sys
import torch
from processes.test_lightning import ddp, trained
out, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])
found = trained(rank, devices=2, strategy=ddp(True))
torch.save(found, out / f"rank{rank}.pt")
facts = {}
for case, unused, seed in [("unused", False, 5), ("seed", True, rank)]:
    try:
        trained(rank, seed=seed, devices=2, strategy=ddp(unused))
    except ValueError as error:
        facts[case] = str(error)
(out / f"rank{rank}.json").write_text(json.dumps(facts))
"""


def ddp(unused: bool) -> DDPStrategy:
    limit = datetime.timedelta(seconds=60)  # no test waits long for a process that never comes
    return DDPStrategy(find_unused_parameters=unused, process_group_backend="gloo", timeout=limit)


def trained(rank: int | None = None, seed: int = SEED, **settings: Any) -> dict[str, Tensor]:
    """The weights after one epoch of four steps, whose batches have a half for each process."""
    module = Module()
    trainer = trainer_of(CoToLightning(Linear(start=0.2), seed=seed), max_epochs=1, use_distributed_sampler=False, **settings)
    data = DataLoader(rows(8), batch_size=2) if rank is None else DataLoader(rows(8)[rank::2], batch_size=1)
    trainer.fit(module, data)
    return weights(module.model)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("lightning")
    run_two(_WORKER, out, start_group=False)  # Lightning starts it
    return out


def test_two_processes_train_the_weights_of_one(ranks: Path) -> None:
    first, second = (torch.load(ranks / f"rank{rank}.pt") for rank in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, trained())


@pytest.mark.parametrize(
    ("case", "words"),
    [("unused", "strategy='ddp_find_unused_parameters_true'"), ("seed", "the processes do not agree: seed is 0")],
)
def test_what_would_fail_is_refused_on_both(ranks: Path, case: str, words: str) -> None:
    for rank in range(2):
        assert words in json.loads((ranks / f"rank{rank}.json").read_text())[case]
