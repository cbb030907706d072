"""The report as a whole: of runs, of adapters from elsewhere, and of what cannot be reported on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
import transformers
from tiny_models import randomise
from tiny_tasks import bert_task, headed_task

from coto_lab import Adapter, Run, Task, interpolate, merge, prune, shapley
from coto_lab.report import Report, report
from coto_lab.scoring.evaluator import Evaluator
from coto_lab.scoring.variant import Variant


def test_every_part_is_what_the_probes_measure(one: Report, tiny_task: Task, runs: tuple[Run, Run]) -> None:
    (m,) = one.measures
    assert (one.task, one.of, m.examples, one.fusing) == ("tiny", 45, 45, None)
    assert torch.equal(m.patterns.accuracy, prune(tiny_task, runs[0]).accuracy)
    torch.testing.assert_close(m.blocks["loss"].values, shapley(tiny_task, runs[0], value="loss").values, rtol=0, atol=1e-6)
    assert m.scores.accuracy.tolist() == [m.patterns.accuracy[-1].item(), m.patterns.accuracy[0].item()]
    assert m.own_masks and torch.equal(m.masks, runs[0].history.mask)
    assert len(m.stability.masks) == 16 and m.sparsity.accuracy[-1] == m.scores.accuracy[0]


def test_two_adapters_are_fused_too(two: Report, tiny_task: Task, runs: tuple[Run, Run]) -> None:
    curve = interpolate(tiny_task, *runs, alphas=11)
    torch.testing.assert_close(two.fusing.curves["first to second"].loss, curve.loss, rtol=0, atol=1e-6)
    merged = Evaluator(tiny_task)([Variant(merge(runs, how)) for how in ("fuse", "ensemble")])
    assert two.fusing.merged.names == ("fuse", "ensemble")
    torch.testing.assert_close(two.fusing.merged.loss, merged.loss, rtol=0, atol=1e-6)
    assert two.fusing.geometry.space == "update" and two.fusing.refused == ""
    assert [m.own_masks for m in two.measures] == [True, False] and two.measures[1].subject.note == ""


def test_adapters_that_do_not_fuse_are_reported_side_by_side(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    config = peft.LoraConfig(r=3, target_modules=["q_proj"])
    other = Adapter.from_model(randomise(peft.get_peft_model(tiny_task.load_base(), config), 1))
    made = report({"run": runs[0], "other": other}, tiny_task, minutes=0, progress=False)
    assert made.fusing.merged is None and "of different methods or modules" in made.fusing.refused
    assert "These adapters cannot be fused" in made.html and "is on one kind of module only" in made.html


def test_an_adapter_that_a_plain_trainer_made(tmp_path: Path) -> None:
    """DoRA with a trained classifier, trained by transformers and saved by PEFT."""
    task = bert_task(0.0)
    config = peft.LoraConfig(
        r=2, use_dora=True, target_modules=["query", "value"], modules_to_save=["classifier"], task_type="SEQ_CLS"
    )
    model = peft.get_peft_model(task.load_base(), config)
    settings = transformers.TrainingArguments(
        str(tmp_path / "work"), max_steps=12, learning_rate=0.02, report_to=[], save_strategy="no", logging_strategy="no",
        disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    transformers.Trainer(model, settings, train_dataset=task.train).train()
    model.save_pretrained(tmp_path / "dora")
    made = report(tmp_path / "dora", task, minutes=None, keep=0.5, save=tmp_path / "pruned", progress=False)
    (m,) = made.measures
    whole = Evaluator(task)([Variant(Adapter.load(tmp_path / "dora"))])
    torch.testing.assert_close(m.scores.loss[1], whole.loss[0], rtol=0, atol=1e-6)
    assert (m.subject.name, m.subject.method, m.subject.whole_layers) == ("dora", "DoRA", ("classifier",))
    assert "does not say by a hash which base model it was trained on" in made.html
    assert "classifier was trained whole" in made.html
    assert len(Adapter.load(tmp_path / "pruned").modules) == 2
    head = "base_model.model.classifier.weight"
    assert torch.equal(made.kept.pruned.tensors[head], m.subject.adapter.tensors[head])


def test_adapters_of_a_task_with_a_new_head_are_measured_pruned_and_fused() -> None:
    task = headed_task()

    def adapter(seed: int) -> Adapter:
        config = peft.LoraConfig(r=2, target_modules=["query", "dense"], task_type="SEQ_CLS")
        return Adapter.from_model(randomise(peft.get_peft_model(task.load_base(), config), seed))

    first = adapter(1)
    made = report(first, task, minutes=None, keep=0.5, progress=False)
    torch.testing.assert_close(made.measures[0].scores.loss[1:], Evaluator(task)([Variant(first)]).loss, rtol=0, atol=1e-6)
    assert made.kept.pruned.apart()[1] and made.measures[0].subject.whole_layers == ("classifier",)
    made = report([first, adapter(2)], task, minutes=0, progress=False)
    assert made.fusing.merged.names == ("fuse",) and len(made.fusing.curves) == 1


def test_examples_are_spread_over_the_test_set(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    made = report(runs[0], tiny_task, examples=20, minutes=None, progress=False)
    assert made.measures[0].examples == 15, "every third of 45"
    assert "15 of 45, evenly spread" in made.html


def test_bad_input(tiny_task: Task, runs: tuple[Run, Run], tmp_path: Path) -> None:
    run = runs[0]
    key = next(iter(run.adapter.tensors))
    broken = replace(run.adapter, tensors=run.adapter.tensors | {key: torch.full_like(run.adapter.tensors[key], torch.nan)})
    wide = replace(run.adapter, base=None, tensors={key: torch.zeros(2, 99) for key in run.adapter.tensors})
    prompt = Adapter({"peft_type": "PROMPT_TUNING"}, {"prompt_embeddings": torch.zeros(2, 16)})
    unknown = Adapter({"peft_type": "NEW"}, run.adapter.tensors)
    bad = [
        ([], ValueError, "adapters is empty"),
        (3, TypeError, "adapters is a int: give a list of runs, adapters or their folders"),
        (tmp_path, ValueError, "cannot be read as JSON"),
        (broken, ValueError, "adapter 'adapter' holds numbers that are not finite"),
        (replace(run.adapter, base="another"), ValueError, "was trained on another base model"),
        (replace(run, task="another"), ValueError, "was trained on task 'another', not on 'tiny'"),
        (wide, ValueError, "does not fit the model"),
        (prompt, ValueError, "has no tensors of its own for any layer"),
        (unknown, ValueError, "config\\['peft_type'\\]='NEW'"),
    ]
    for adapters, kind, message in bad:
        with pytest.raises(kind, match=message):
            report(adapters, tiny_task, progress=False)
    for name, value in (("examples", 0), ("examples", 2.5), ("minutes", -1), ("minutes", float("inf"))):
        with pytest.raises(ValueError, match=f"{name}="):
            report(run, tiny_task, progress=False, **{name: value})
    with pytest.raises(TypeError, match="is no Task"):
        report(run, None, progress=False)
    empty = replace(tiny_task, test=tiny_task.test.select([]))
    with pytest.raises(ValueError, match="task 'tiny' has no test examples"):
        report(run, empty, progress=False)
