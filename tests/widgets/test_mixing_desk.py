"""The mixing desk, driven as a reader drives it: faders, presets, the choice of a rule and its options."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch

from coto_lab import Adapter, Classification, Evaluator, Run, Variant, merge
from coto_lab.merging.registry import RULES
from coto_lab.merging.task_arithmetic import TaskArithmetic
from coto_lab.merging.ties import Ties
from coto_lab.tasks.joint import Joint
from coto_lab.widgets import MixingDesk
from coto_lab.widgets.view import plain

NAMES = ["one", "two", "three"]


@pytest.fixture(scope="module")
def tasks(tiny_task: Classification) -> Joint:
    """Three tasks that differ in their test images."""
    thirds = [tiny_task.test.select(range(i, 45, 3)) for i in range(3)]
    parts = [replace(tiny_task, name=f"tiny/{name}", test=test) for name, test in zip(NAMES, thirds, strict=True)]
    return Joint(parts, "tiny/all")


@pytest.fixture(scope="module")
def adapters(runs: tuple[Run, Run]) -> dict[str, list[list[Adapter]]]:
    """Two seeds of two methods."""
    first, second = (run.adapter for run in runs)
    third = Adapter(first.config, {name: -2 * tensor.roll(1, -1) for name, tensor in first.tensors.items()}, first.base)
    return {"LoRA": [[first, second, third], [second, third, first]], "CoTo": [[third, first, second], [first, first, third]]}


@pytest.fixture
def desk(tasks: Joint, adapters: dict[str, list[list[Adapter]]], runs: tuple[Run, Run]) -> MixingDesk:
    return MixingDesk(tasks, adapters, {"LoRA": [runs[1].adapter] * 2})


def expected(tasks: Joint, adapter: Adapter, mask: torch.Tensor | None = None) -> list[float]:
    """What an evaluator of its own finds for each task, in percent."""
    return [100 * Evaluator(task)([Variant(adapter, mask)]).accuracy.item() for task in tasks.tasks]


def shows(desk: MixingDesk, accuracy: Sequence[float]) -> None:
    assert list(desk.accuracy.values()) == pytest.approx(accuracy)
    bar = desk.figure.data[0]
    assert list(bar.x) == [*NAMES, "mean"] and list(bar.y) == pytest.approx([*accuracy, sum(accuracy) / 3])
    assert f"{sum(accuracy) / 3:.1f}%" in plain(desk.text.value)


def test_at_first_all_faders_are_at_1_which_is_the_rules_own_default(desk: MixingDesk, tasks: Joint) -> None:
    mine = desk._adapters["LoRA"][0]
    shows(desk, expected(tasks, merge(mine, "fuse")))
    for how in ("ensemble", "cat", "ties", "lego", "core space"):
        desk.rule.value = how
        shows(desk, expected(tasks, merge(mine, how)))


def test_a_fader_changes_one_weight_and_scores_one_mix(
    desk: MixingDesk, tasks: Joint, count_variants: Callable[[], list[int]]
) -> None:
    mine, calls = desk._adapters["LoRA"][0], count_variants()
    desk.faders["two"].slider.value = 0.4
    assert calls == [1]
    shows(desk, expected(tasks, merge(mine, "fuse", [1 / 3, 0.4 / 3, 1 / 3])))
    desk.faders["two"].value = 0  # out of the mix: the other two are half each
    shows(desk, expected(tasks, merge([mine[0], mine[2]], "fuse")))
    desk.move([0, 0, 0])
    base = expected(tasks, mine[0], torch.zeros(4, dtype=torch.bool))
    shows(desk, base)
    assert "fuse of 0 adapters" in plain(desk.text.value)


def test_presets(desk: MixingDesk, tasks: Joint, count_variants: Callable[[], list[int]]) -> None:
    mine = desk._adapters["LoRA"][0]
    desk.rule.value = "cat"
    desk.chosen.value = "three"
    calls = count_variants()
    for name, faders in {"only": [0, 0, 1], "without": [1, 1, 0], "minus": [1, 1, -1], "all equal": [1, 1, 1]}.items():
        calls.clear()
        desk.presets[name].click()
        assert calls == [1] and [field.value for field in desk.faders.values()] == faders
        used = [(adapter, weight) for adapter, weight in zip(mine, faders, strict=True) if weight]
        shows(desk, expected(tasks, merge([a for a, _ in used], TaskArithmetic(1.0), [w for _, w in used])))


def test_a_rule_shows_the_options_that_it_has(desk: MixingDesk, tasks: Joint) -> None:
    def shown() -> list[str]:
        return [name for name in ("density", "scale", "rank") if getattr(desk, name).layout.display != "none"]

    wanted = {"fuse": [], "task arithmetic": ["scale"], "ties": ["density", "scale"], "svd": ["rank"], "lego": ["rank"]}
    for rule, options in wanted.items():
        desk.rule.value = rule
        assert shown() == options
    assert desk.rank.value == 2, "LoRA-LEGO takes the rank of the adapters"
    desk.rule.value = "ties"
    assert (desk.density.value, desk.scale.value) == (RULES["ties"].density, 1)
    desk.density.value = 0.75
    shows(desk, expected(tasks, merge(desk._adapters["LoRA"][0], Ties(0.75))))


def test_marks_are_scores_on_the_same_images(desk: MixingDesk, tasks: Joint, runs: tuple[Run, Run]) -> None:
    mine = desk._adapters["LoRA"][0]
    base, alone, together = desk.figure.data[1:4]
    assert list(base.y)[:3] == pytest.approx(expected(tasks, mine[0], torch.zeros(4, dtype=torch.bool)))
    assert list(alone.y)[:3] == pytest.approx([expected(tasks, adapter)[i] for i, adapter in enumerate(mine)])
    assert list(together.y)[:3] == pytest.approx(expected(tasks, runs[1].adapter))
    desk.seed.value = 1
    assert list(desk.figure.data[2].y)[:3] == pytest.approx(
        [expected(tasks, adapter)[i] for i, adapter in enumerate(desk._adapters["LoRA"][1])]
    )


def test_another_method_and_its_frame(desk: MixingDesk, tasks: Joint, count_variants: Callable[[], list[int]]) -> None:
    calls = count_variants()
    desk.method.value = "CoTo"
    shows(desk, expected(tasks, merge(desk._adapters["CoTo"][0], "fuse")))
    assert sorted(calls[:2]) == [1, 4], "the mix, and once the base and each adapter"
    calls.clear()
    desk.faders["one"].value = 0.5
    assert calls == [1]
    assert desk.figure.data[3].y is None or not any(desk.figure.data[3].y), "no joint adapter was given for CoTo"


def test_a_mix_that_the_rule_refuses_is_explained_and_the_figure_stays(desk: MixingDesk) -> None:
    desk.rule.value = "lego"
    before, bars = desk.text.value, list(desk.figure.data[0].y)
    desk.faders["one"].value = -1
    assert plain(desk.message.value).startswith("lego cannot mix so: LoRA-LEGO"), "a short line, without the weights"
    assert "above 0" in plain(desk.message.value)
    assert (desk.text.value, list(desk.figure.data[0].y)) == (before, bars)
    desk.faders["one"].value = 1
    assert desk.message.value == ""


def test_scores_for_scripts(desk: MixingDesk, tasks: Joint) -> None:
    before = desk.text.value
    assert list(desk.score([1, 0, 0]).values()) == pytest.approx(expected(tasks, desk._adapters["LoRA"][0][0]))
    assert desk.text.value == before and [field.value for field in desk.faders.values()] == [1, 1, 1]
    with pytest.raises(ValueError, match=re.escape("one number for each of one, two, three")):
        desk.score([1, 0])
    with pytest.raises(ValueError, match="one=7"):
        desk.move([7, 0, 0])


def test_few_images_are_evenly_spaced_and_told(tasks: Joint, adapters: dict[str, list[list[Adapter]]]) -> None:
    desk = MixingDesk(tasks, adapters, images=5, how="ensemble")
    assert desk.task.size("test") == 15
    assert desk.figure.layout.yaxis.title.text == "accuracy on 5 test examples of each task, %"
    assert "5 test examples of each task" in plain(desk.text.value)
    assert desk.rule.value == "ensemble"


def test_what_does_not_fit_is_refused(tasks: Joint, adapters: dict[str, list[list[Adapter]]]) -> None:
    with pytest.raises(TypeError, match="give Joint"):
        MixingDesk(tasks.tasks[0], adapters)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="how='mean'"):
        MixingDesk(tasks, adapters, how="mean")
    with pytest.raises(ValueError, match="images=0"):
        MixingDesk(tasks, adapters, images=0)
    with pytest.raises(ValueError, match="adapters is empty"):
        MixingDesk(tasks, {})
    with pytest.raises(ValueError, match=re.escape("adapters['LoRA'][0] has 2 adapters, and there are 3 tasks")):
        MixingDesk(tasks, {"LoRA": [adapters["LoRA"][0][:2]]})
    other = replace(adapters["LoRA"][0][0], base="another")
    with pytest.raises(ValueError, match="another base model"):
        MixingDesk(tasks, {"LoRA": [[other] * 3]})
