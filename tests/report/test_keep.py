"""The pruned adapter of a report: chosen on one half of the examples, scored on the other."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from coto_lab import Adapter, Evaluator, Run, Task, Variant
from coto_lab.probes.shapley import all_coalitions
from coto_lab.report import Report, report
from coto_lab.report.keep import check_keep
from coto_lab.report.smaller import file_size


def test_the_choice_is_the_best_on_the_examples_at_even_places(one: Report, tiny_task: Task, runs: tuple[Run, Run]) -> None:
    pairs = [mask for mask in all_coalitions(4) if int(mask.sum()) == 2]
    scores = Evaluator(tiny_task)([Variant(runs[0].adapter, mask) for mask in pairs])
    best = pairs[int(scores.values["loss"][:, ::2].mean(1).argmin())]
    assert one.kept.mask.tolist() == best.tolist()
    assert (one.kept.compared, one.kept.every, one.kept.searched) == (6, True, 23)


def test_the_scores_are_of_the_others(one: Report, tiny_task: Task, runs: tuple[Run, Run]) -> None:
    adapter, mask = runs[0].adapter, one.kept.mask
    expected = Evaluator(tiny_task)(
        [Variant(adapter, torch.zeros(4, dtype=torch.bool)), Variant(adapter), Variant(adapter, mask)]
    )
    assert one.kept.scores.names == ("base", "adapter", "pruned")
    torch.testing.assert_close(one.kept.scores.values["loss"], expected.values["loss"][:, 1::2], rtol=0, atol=1e-6)
    searched = expected.values["loss"][1:, ::2]
    torch.testing.assert_close(one.kept.search_scores.values["loss"], searched, rtol=0, atol=1e-6)


def test_the_folder_holds_the_kept_modules(one: Report, pruned_folder: Path, runs: tuple[Run, Run]) -> None:
    saved = Adapter.load(pruned_folder)
    assert one.kept.folder == pruned_folder and len(saved.modules) == 4
    kept = {f"vit.layers.{i}" for i in one.kept.mask.nonzero()[:, 0].tolist()}
    assert {module.rpartition(".attention")[0] for module in saved.modules} == kept
    assert one.kept.bytes == (file_size(runs[0].adapter), (pruned_folder / "adapter_model.safetensors").stat().st_size)
    assert (one.kept.milliseconds > 0).all() and one.kept.batch_size == 32


def test_bad_input(tiny_task: Task, runs: tuple[Run, Run], tmp_path: Path) -> None:
    for keep in (0, -0.5, 1.01, float("nan"), "half"):
        with pytest.raises(ValueError, match="keep="):
            check_keep(keep)
    assert check_keep(1) == 1.0
    with pytest.raises(FileExistsError, match=r"save=.* exists, and a pruned adapter replaces nothing"):
        report(runs[0], tiny_task, keep=0.5, save=tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"save=.* is for the pruned adapter: say with keep"):
        report(runs[0], tiny_task, save=tmp_path / "new", progress=False)
    with pytest.raises(ValueError, match=r"keep=0.5: prunes one adapter, and there are 2"):
        report(runs, tiny_task, keep=0.5, progress=False)
    with pytest.raises(ValueError, match=r"keep: 1 test example cannot be split into two halves, .* Give at least 4"):
        report(runs[0], tiny_task, examples=1, keep=0.5, progress=False)
    assert not (tmp_path / "new").exists()
