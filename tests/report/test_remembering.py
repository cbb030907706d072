"""The report's evaluator scores as any other, but nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import peft
import pytest
import torch
import transformers
from tiny_models import randomise
from tiny_tasks import bert_task

from coto_lab import Adapter, Evaluator, Run, Task, Variant
from coto_lab.report.remembering import Remembering


def with_head(task: Task, **settings: object) -> Adapter:
    config = peft.LoraConfig(r=2, target_modules=["query", "value"], modules_to_save=["classifier"], **settings)
    return Adapter.from_model(randomise(peft.get_peft_model(task.load_base(), config), 1))


def masks(n: int) -> list[torch.Tensor]:
    return [torch.arange(n) < i for i in range(n + 1)]


def test_scores_are_those_of_an_evaluator_and_none_is_computed_twice(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    moved: list[int] = []
    score = Remembering(tiny_task, runs[0].adapter, moved=moved.append)
    variants = [Variant(runs[0].adapter, mask, f"{i}") for i, mask in enumerate(masks(4))]
    first = score(variants)
    expected = Evaluator(tiny_task)(variants)
    torch.testing.assert_close(first.values["loss"], expected.values["loss"], rtol=0, atol=1e-6)
    assert first.names == expected.names and moved == [5]
    again = score([variants[3], Variant(runs[0].adapter, None, "all"), variants[3]])
    assert moved == [5] and again.names == ("3", "all", "3")
    assert torch.equal(again.values["loss"], first.values["loss"][[3, 4, 3]])
    score([Variant(runs[1].adapter)])
    score([Variant(runs[1].adapter)])
    assert moved == [5, 1, 1], "another adapter's scores are not kept"


def test_the_base_is_loaded_once_and_holds_each_adapters_own_trained_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    task = bert_task(0.0)
    loads: list[int] = []
    load: Callable[[], torch.nn.Module] = task.load_base
    object.__setattr__(task, "load_base", lambda: loads.append(1) or load())
    adapter = with_head(task)
    loads.clear()
    first = Remembering(task, adapter)
    other = Remembering(task.every(2), with_head(task, lora_alpha=4), like=first)
    plain = Remembering(
        task,
        Adapter.from_model(randomise(peft.get_peft_model(load(), peft.LoraConfig(r=2, target_modules=["query"])), 2)),
        like=other,
    )
    assert len(loads) == 2, "one is the second adapter's own"
    own = adapter.tensors["base_model.model.classifier.weight"]
    assert torch.equal(first.base.classifier.weight, own)
    assert not torch.equal(plain.base.classifier.weight, own), "the bare base model is as it was"
    found, whole = first([Variant(first.adapter)]), Evaluator(task)([Variant(adapter)])
    torch.testing.assert_close(found.values["loss"], whole.values["loss"], rtol=0, atol=1e-6)
    assert first.shares_blocks and "modules_to_save" in adapter.config


def test_trained_layers_of_another_size_are_refused() -> None:
    task = bert_task(0.0)
    adapter = with_head(task)
    adapter.tensors["base_model.model.classifier.weight"] = torch.zeros(5, 16)
    with pytest.raises(
        ValueError, match=r"does not fit the base model of task 'tokens'.*no parameter classifier.weight of shape \[5, 16\]"
    ):
        Remembering(task, adapter)


def test_layers_in_the_trained_head_get_no_adapter() -> None:
    """A list such as ["dense"] is meant for the blocks; the head of RoBERTa has a layer of this name, too."""
    size = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 32}
    config = transformers.RobertaConfig(**size, max_position_embeddings=20, num_labels=3)
    torch.manual_seed(0)
    base = transformers.RobertaForSequenceClassification(config)
    task = replace(bert_task(0.0), load_base=lambda: deepcopy(base), base="roberta")
    for targets in (["query", "dense"], "all-linear"):
        lora = peft.LoraConfig(r=2, target_modules=targets, task_type="SEQ_CLS")
        adapter = Adapter.from_model(randomise(peft.get_peft_model(task.load_base(), lora), 1))
        assert adapter.apart()[1], "the head is trained whole"
        score = Remembering(task, adapter)
        gates = score.gates(score.adapter)
        assert not any("classifier" in module for module in gates.modules)
        found, expected = score([Variant(score.adapter)]), Evaluator(task)([Variant(adapter)])
        torch.testing.assert_close(found.values["loss"], expected.values["loss"], rtol=0, atol=1e-6)
