"""Two processes of a gloo group: those that would drop different adapters are stopped, each with the same error."""

from __future__ import annotations

import json

import pytest
import torch
from tiny_models import adapted, llama
from two_ranks import run_two_apart

from coto_lab import CoTo, Linear, attach_gates
from coto_lab.gating.ranks import check_agreement, check_same, check_wrapped

_WORKER = """
import datetime, json, os, pathlib, sys
import torch, transformers
from tiny_models import adapted, llama
from torch.nn.parallel import DistributedDataParallel
from coto_lab import Constant, CoTo, CoToCallback, Linear, attach_gates
from coto_lab.gating import ranks
from coto_lab.gating.ranks import check_agreement, check_wrapped
out, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])

def agree(layers=3, by="block", schedule=Linear(), total_steps=10, seed=0, tilt=0.0, **settings):
    gates = attach_gates(adapted(model=llama(layers=layers)), by=by)
    check_agreement(CoTo(gates, schedule, total_steps=total_steps, seed=seed, tilt=tilt), **settings)

def reentrant():
    model = adapted().train()
    model.gradient_checkpointing_enable({"use_reentrant": True})
    check_wrapped(DistributedDataParallel(model, find_unused_parameters=True))

first = rank == 0
attempts = {
    "same": lambda: agree(),
    "functions": lambda: agree(schedule=lambda progress: progress),
    "seed": lambda: agree(seed=rank),
    "steps": lambda: agree(total_steps=10 + rank),
    "tilt": lambda: agree(tilt=float(rank)),
    "schedule": lambda: agree(schedule=Linear() if first else Constant(0.5)),
    "gates": lambda: agree(by="block" if first else "module"),
    "layers": lambda: agree(layers=3 + rank),
    "settings": lambda: agree(data=f"shard {rank}"),
    "reentrant": reentrant,
}
facts = {}
for name, attempt in attempts.items():
    try:
        attempt()
    except ValueError as error:
        facts[name] = str(error)
check_wrapped(DistributedDataParallel(adapted().train(), find_unused_parameters=True))

ranks.LIMIT = datetime.timedelta(seconds=3)
if first:
    try:
        ranks.check_same(a="of the first alone")
    except ValueError as error:
        facts["alone"] = str(error)
torch.distributed.barrier()
ranks.check_same(b="of both, after one that the other missed")
args = transformers.TrainingArguments(out / "trainer", max_steps=3, report_to=[], disable_tqdm=True, use_cpu=True)
data = [{"input_ids": [1, 2, 3], "labels": [1, 2, 3]}] * 8
try:  # the process without the callback waits for the other one, which ends
    transformers.Trainer(model=adapted(), args=args, train_dataset=data, callbacks=[CoToCallback()] if first else []).train()
except Exception as error:
    facts["absent"] = str(error)
(out / f"rank{rank}.json").write_text(json.dumps(facts))
os._exit(0)  # the group is broken by now, and taking it down can end in std::terminate
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What was refused, and with which words; the same on both processes."""
    out = tmp_path_factory.mktemp("ranks")
    run_two_apart(_WORKER, out)
    first, second = (json.loads((out / f"rank{rank}.json").read_text()) for rank in range(2))
    assert {**first, "absent": "", "alone": ""} == {**second, "absent": "", "alone": ""}
    return first


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("seed", "the processes do not agree: seed is 0 on process 0 and 1 on process 1. Start all processes with the same"),
        ("steps", "total_steps is 10 on process 0 and 11 on process 1"),
        ("tilt", "tilt is 0.0 on process 0 and 1.0 on process 1"),
        ("schedule", "schedule is p(t) from 0 to 1 ("),
        ("gates", "gates is 3, 'model.layers.0' to 'model.layers.2' ("),
        ("layers", "and 4, 'model.layers.0' to 'model.layers.3' ("),
        ("settings", "data is shard 0 on process 0 and shard 1 on process 1"),
        ("reentrant", "Use the other kind: model.gradient_checkpointing_enable({'use_reentrant': False})"),
    ],
)
def test_what_differs_is_named_on_every_process(refusals: dict[str, str], case: str, words: str) -> None:
    assert words in refusals[case]


@pytest.mark.parametrize("case", ["same", "functions"])
def test_processes_that_agree_go_on(refusals: dict[str, str], case: str) -> None:
    assert case not in refusals


def test_a_callback_on_one_process_alone_does_not_wait_for_ever(refusals: dict[str, str]) -> None:
    assert refusals["absent"].startswith("process 1 has not come within 3 s to where the processes compare their settings.")
    assert refusals["absent"].endswith("each with the callback.")
    assert refusals["alone"] == refusals["absent"], "and the next comparison, to which both came, was right"


def test_a_process_alone_has_nothing_to_compare() -> None:
    check_same(seed=torch.rand(1))
    check_agreement(CoTo(attach_gates(adapted(model=llama())), Linear(), total_steps=3))
    check_wrapped(adapted())
