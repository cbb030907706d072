from __future__ import annotations

from dataclasses import replace

import torch
from torch.nn import functional as F

from coto_lab import Scores
from coto_lab.probes.flips import flips


def scores(*predicted: list[int], labels: list[int], outputs: bool = True) -> Scores:
    read, true = torch.tensor(predicted), torch.tensor(labels)
    correct = (read == true).double()
    logits, kept = (F.one_hot(read, 3).float(), true) if outputs else (None, None)
    return Scores(tuple(map(str, range(len(read)))), {"loss": torch.zeros_like(correct), "correct": correct}, logits, kept)


def test_a_flip_is_another_prediction_right_or_wrong() -> None:
    three = scores([0, 1, 2, 2, 0], [1, 1, 2, 0, 2], [0, 0, 1, 2, 0], labels=[0, 1, 2, 0, 1])
    changed = flips(three, 0, 1)
    assert changed.indices.tolist() == [0, 3, 4] and len(changed) == 3
    assert (changed.before.tolist(), changed.now.tolist()) == ([0, 2, 0], [1, 0, 2])
    assert (changed.right_before.tolist(), changed.right_now.tolist()) == ([True, False, False], [False, True, False])
    assert (changed.spoiled, changed.mended) == (1, 1)  # the third is wrong both times
    back = flips(three, 1, 0)
    assert (back.spoiled, back.mended) == (1, 1) and back.now.tolist() == changed.before.tolist()
    assert flips(three, 0, 2).spoiled == 2 and flips(three, 0, 2).mended == 0


def test_without_classes_a_flip_is_another_correctness() -> None:
    three = scores([0, 1, 2, 2, 0], [1, 1, 2, 0, 2], [0, 0, 1, 2, 0], labels=[0, 1, 2, 0, 1], outputs=False)
    changed = flips(three, 0, 1)
    assert changed.indices.tolist() == [0, 3], "the last is wrong both times"
    assert changed.before is None and changed.now is None
    assert (changed.right_before.tolist(), changed.right_now.tolist()) == ([True, False], [False, True])
    assert (changed.spoiled, changed.mended) == (1, 1)
    assert (flips(three, 0, 2).spoiled, flips(three, 0, 2).mended) == (2, 0)
    assert (flips(three, 2, 0).spoiled, flips(three, 2, 0).mended) == (0, 2)


def test_nothing_flips_between_a_variant_and_itself() -> None:
    for outputs in (True, False):
        same = flips(scores([0, 1], labels=[0, 0], outputs=outputs), 0, 0)
        assert len(same) == same.spoiled == same.mended == 0


def test_answers_as_text_come_along() -> None:
    two = replace(scores([0, 1, 2], [1, 1, 0], labels=[0, 1, 2], outputs=False), said=(("a", "b", "c"), ("b", "b", "a")))
    changed = flips(two, 0, 1)
    assert (changed.said_before, changed.said_now) == (("a", "c"), ("b", "a"))
    assert flips(replace(two, said=None), 0, 1).said_now is None
