"""Two processes of a gloo group: each scores its share, and both get all scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_tasks import SpeakingTask, lora_adapters
from two_ranks import run_two

from coto_lab import Evaluator, Recipe, Training, Variant, load_task

_WORKER = """
import json, os, pathlib, sys
import torch
from accelerate import PartialState
from coto_lab import Evaluator, Recipe, Training, Variant, load_task
sys.path.insert(0, "TESTS")
from tiny_tasks import SpeakingTask, lora_adapters
out, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])
PartialState(cpu=True)
task = load_task("digits").every(40)
counted = 0

class Counted(Evaluator):
    def _score(self, variants, split, places, outputs):
        global counted
        counted += len(variants)
        return super()._score(variants, split, places, outputs)

evaluator = Counted(task)
adapters = [Training(task, Recipe(seed=seed)).run().adapter for seed in range(2)]
masks = [None, torch.arange(8) < 3, torch.arange(8) > 5]
variants = [Variant(adapter, mask, f"{i}") for adapter in adapters for i, mask in enumerate(masks)][:5]
scores = evaluator(variants, outputs=True)
one = evaluator(variants[:1])
speaking = SpeakingTask()
torch.manual_seed(0)
first, second = lora_adapters(speaking)
said = Evaluator(speaking)([Variant(first), Variant(second), Variant(first, torch.arange(8) < 3)], outputs=True).said
try:
    evaluator(variants[rank : rank + 2])
except ValueError as error:
    refused = str(error)
facts = {"refused": refused,
         "counted": counted, "names": scores.names, "loss": scores.values["loss"].tolist(), "labels": scores.labels.tolist(),
         "outputs": scores.outputs.sum().item(), "one": one.loss.item(), "said": said}
(out / f"rank{rank}.json").write_text(json.dumps(facts))
torch.distributed.destroy_process_group()
""".replace("TESTS", str(Path(__file__).parents[1]))


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of the two processes saw."""
    out = tmp_path_factory.mktemp("scoring")
    run_two(_WORKER, out)
    return [json.loads((out / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_each_process_scores_its_share(facts: list[dict]) -> None:
    assert [own["counted"] for own in facts] == [3 + 1, 2]  # of five variants, and of one


def test_processes_that_were_given_other_variants_are_refused(facts: list[dict]) -> None:
    assert all("the processes do not agree: variants is 2 with names and masks" in own["refused"] for own in facts)


def test_all_get_all_scores_in_order(facts: list[dict]) -> None:
    task = load_task("digits").every(40)
    adapters = [Training(task, Recipe(seed=seed)).run().adapter for seed in range(2)]
    masks = [None, torch.arange(8) < 3, torch.arange(8) > 5]
    scores = Evaluator(task)([Variant(adapter, mask) for adapter in adapters for mask in masks][:5], outputs=True)
    for own in facts:
        assert own["names"] == ["0", "1", "2", "0", "1"]
        torch.testing.assert_close(torch.tensor(own["loss"], dtype=torch.float64), scores.values["loss"], rtol=0, atol=1e-5)
        assert own["labels"] == scores.labels.tolist() and own["one"] == pytest.approx(scores.loss[0].item(), abs=1e-5)
        assert own["outputs"] == pytest.approx(scores.outputs.sum().item(), rel=1e-4)


def test_all_get_all_answers_as_text_in_order(facts: list[dict]) -> None:
    task = SpeakingTask()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first, second = lora_adapters(task)
    variants = [Variant(first), Variant(second), Variant(first, torch.arange(8) < 3)]
    said = Evaluator(task)(variants, outputs=True).said
    assert len(set(said)) == 3
    for own in facts:
        assert tuple(map(tuple, own["said"])) == said
