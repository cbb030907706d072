"""Mixtures of adapters, and on how many examples they are scored."""

from __future__ import annotations

import peft
import pytest
from tiny_models import randomise

from coto_lab import Adapter, Run, Task
from coto_lab.report.fusing import fuse_all, part_to_fuse
from coto_lab.report.remembering import Remembering
from coto_lab.report.subject import open_subjects


@pytest.mark.parametrize(
    ("adapters", "seconds", "step", "answers"),
    [(2, None, 1, 13 * 200), (3, None, 1, 35 * 200), (5, None, 1, 35 * 200), (2, 8.0, 2, 13 * 100), (2, 0.0, 4, 13 * 50)],
)
def test_fewer_examples_where_time_is_short(
    adapters: int, seconds: float | None, step: int, answers: int, tiny_task: Task
) -> None:
    """Curves of 11 points, of three pairs at most, and two mixtures of all; 50 examples are always taken."""

    class Large:
        name, base, size = "large", "base", staticmethod(lambda split: 200)

    part, planned = part_to_fuse(Large(), adapters, 1.0, seconds)
    assert (part.step, planned) == (step, answers)


def test_three_adapters_have_three_lines_and_one_middle(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    subjects = open_subjects({"a": runs[0], "b": runs[1], "c": runs[0].adapter}, tiny_task)
    scored: list[int] = []
    part, planned = part_to_fuse(tiny_task, 3, 1.0, None)
    found = fuse_all(part, subjects, Remembering(tiny_task, runs[0].adapter), scored.append)
    assert list(found.curves) == ["a to b", "a to c", "b to c"] and sum(scored) == planned
    assert found.curves["a to c"].barrier == pytest.approx(0, abs=1e-6), "the two are the same"
    assert found.merged.names == ("fuse", "ensemble") and found.examples == 45
    assert found.geometry.cosine[0, 2].item() == pytest.approx(1)


def test_adapters_of_different_ranks_or_scales_have_an_ensemble_and_cosines(tiny_task: Task) -> None:
    def adapter(seed: int, **settings: int) -> Adapter:
        model = peft.get_peft_model(tiny_task.load_base(), peft.LoraConfig(target_modules=["q_proj"], **settings))
        return Adapter.from_model(randomise(model, seed))

    adapters = {"two": adapter(0, r=2), "four": adapter(1, r=4), "louder": adapter(2, r=2, lora_alpha=16)}
    subjects = open_subjects({**adapters, "two again": adapter(3, r=2)}, tiny_task)
    found = fuse_all(tiny_task, subjects, Remembering(tiny_task, subjects[0].adapter), lambda variants: None)
    assert found.refused == "fusion averages factors that act alike, but r is 2 in two and 4 in four."
    assert list(found.curves) == ["two to two again"] and found.merged.names == ("ensemble",)
    assert found.geometry.space == "update" and len(found.geometry.names) == 4
    louder = fuse_all(tiny_task, [subjects[0], subjects[2]], Remembering(tiny_task, subjects[0].adapter), lambda variants: None)
    assert "lora_alpha is 8 in two and 16 in louder" in louder.refused and louder.curves == {}
