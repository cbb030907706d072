from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from peft import get_peft_model
from tiny_models import config_of, vit

from coto_lab import Evaluator, Recipe, Run, Task, Variant, attach_gates, fit, prune
from coto_lab.probes.pruning import paper_patterns


def blocks_of(mask: torch.Tensor, per_block: int) -> str:
    """A mask over modules as one letter per block; a block is kept whole or not at all."""
    rows = mask.reshape(-1, per_block)
    assert torch.equal(rows.all(1), rows.any(1))
    return "".join("x" if row[0] else "." for row in rows)


def test_patterns_of_8_blocks() -> None:
    model = get_peft_model(vit(8), config_of("LoRA", ["q_proj", "k_proj", "v_proj"]))
    patterns = paper_patterns(attach_gates(model, by="module"))
    expected = {
        "all": "xxxxxxxx",
        "every other": "x.x.x.x.",
        "low third": "xxx.....",
        "middle third": "...xx...",
        "high third": ".....xxx",
        "none": "........",
    }
    assert {name: blocks_of(patterns[name], 3) for name in expected} == expected
    kinds = {"only q_proj", "only k_proj", "only v_proj"}
    assert patterns.keys() == expected.keys() | kinds
    gates = attach_gates(get_peft_model(vit(8), config_of("LoRA", ["q_proj", "k_proj", "v_proj"])), by="module")
    for kind in kinds:
        kept = [name for name, keep in zip(gates.names, patterns[kind].tolist(), strict=True) if keep]
        assert len(kept) == 8 and all(name.endswith(kind.removeprefix("only ")) for name in kept)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 12])
def test_thirds_are_a_partition_with_equal_ends(n: int) -> None:
    patterns = paper_patterns(attach_gates(get_peft_model(vit(n), config_of("LoRA", ["q_proj"])), by="module"))
    low, middle, high = (patterns[f"{name} third"].int() for name in ("low", "middle", "high"))
    assert (low + middle + high).tolist() == [1] * n
    assert low.sum() == high.sum() and abs(low.sum() - middle.sum()) <= 1


def test_all_is_the_run_and_none_is_the_base(task: Task) -> None:
    task = replace(task, test=task.test.select(range(200)))
    run = fit(task, Recipe(r=2, steps=3, batch_size=8), progress=False)
    evaluator = Evaluator(task)
    table = prune(task, run, evaluator=evaluator)
    scores = dict(zip(table.patterns, zip(table.accuracy.tolist(), table.loss.tolist(), strict=True), strict=True))
    whole = evaluator([Variant(run.adapter)])
    assert scores["all"] == (whole.accuracy.item(), whole.loss.item())
    with torch.no_grad():
        base = task.load_base().eval()
        right = task.predict(base, task.test_batch).argmax(1) == task.test_batch["labels"]
        assert scores["none"] == (
            right.double().mean().item(),
            pytest.approx(task.loss(task.predict(base, task.test_batch), task.test_batch).mean().item(), rel=1e-5),
        )
    assert len({loss for _, loss in scores.values()}) == len(scores)
    kept = dict(zip(table.patterns, table.kept.tolist(), strict=True))
    assert kept == {
        "all": 1, "every other": 0.5, "low third": 3 / 8, "middle third": 2 / 8, "high third": 3 / 8,
        "only q_proj": pytest.approx(1 / 3), "only k_proj": pytest.approx(1 / 3), "only v_proj": pytest.approx(1 / 3),
        "none": 0,
    }  # fmt: skip


def test_masks_of_ones_own(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    first = torch.tensor([True, False, False, False])
    table = prune(tiny_task, runs[0], {"first": first, "its modules": first.repeat_interleave(2)}, evaluator)
    assert table.patterns == ("first", "its modules") and table.kept.tolist() == [0.25, 0.25]
    expected = evaluator([Variant(runs[0].adapter, first)])
    assert table.loss.tolist() == expected.loss.tolist() * 2 and table.accuracy.tolist() == expected.accuracy.tolist() * 2
    assert table.frame()["pattern"].tolist() == ["first", "its modules"]
    assert table.frame()["loss"].tolist() == table.loss.tolist()


def test_kept_counts_modules_where_blocks_are_uneven(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    uneven = replace(tiny_task, target_modules=("q_proj", "layers.0.attention.v_proj"))  # 2, 1, 1, 1 modules
    run = fit(uneven, replace(runs[0].recipe, steps=2), progress=False)
    table = prune(uneven, run, {"first block": torch.tensor([True, False, False, False])})
    assert table.kept.tolist() == [2 / 5]


def test_bad_input_is_refused(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    with pytest.raises(ValueError, match=r"patterns\['odd'\] must be a BoolTensor \[4\]"):
        prune(tiny_task, runs[0], {"all": torch.ones(4, dtype=torch.bool), "odd": torch.ones(3, dtype=torch.bool)}, evaluator)
    with pytest.raises(ValueError, match="run was trained on another base model"):
        prune(tiny_task, replace(runs[0], base="another"), evaluator=evaluator)
    with pytest.raises(ValueError, match="run was trained on task 'another', not on 'tiny'"):
        prune(tiny_task, replace(runs[0], task="another"), evaluator=evaluator)


def test_patterns_are_masks_by_name(
    tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    mask = torch.ones(4, dtype=torch.bool)
    monkeypatch.setattr(Evaluator, "__call__", lambda *given, **settings: pytest.fail("it scored"))
    for wrong in ([mask], mask, "all"):
        with pytest.raises(TypeError, match=rf"patterns is a {type(wrong).__name__}: give a dict of masks"):
            prune(tiny_task, runs[0], wrong, evaluator)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="patterns is empty: give at least one, or None for those of the paper"):
        prune(tiny_task, runs[0], {}, evaluator)
    for odd in ([True] * 4, mask.float(), mask[:3]):
        with pytest.raises(
            ValueError, match=r"patterns\['mine'\] must be a BoolTensor \[4\] \(blocks\) or \[8\] \(modules\), got"
        ):
            prune(tiny_task, runs[0], {"all": mask, "mine": odd}, evaluator)  # type: ignore[dict-item]
