from __future__ import annotations

import torch
from torch.nn import functional as F

from coto_lab import Scores
from coto_lab.probes.flips import flips


def scores(*predicted: list[int], labels: list[int]) -> Scores:
    logits = F.one_hot(torch.tensor(predicted), 3).float()
    return Scores(tuple(str(i) for i in range(len(predicted))), logits, torch.tensor(labels))


def test_a_flip_is_another_prediction_right_or_wrong() -> None:
    three = scores([0, 1, 2, 2, 0], [1, 1, 2, 0, 2], [0, 0, 1, 2, 0], labels=[0, 1, 2, 0, 1])
    changed = flips(three, 0, 1)
    assert changed.indices.tolist() == [0, 3, 4] and len(changed) == 3
    assert changed.labels.tolist() == [0, 0, 1]
    assert (changed.before.tolist(), changed.now.tolist()) == ([0, 2, 0], [1, 0, 2])
    assert (changed.spoiled, changed.mended) == (1, 1)  # the third is wrong both times
    back = flips(three, 1, 0)
    assert (back.spoiled, back.mended) == (1, 1) and back.now.tolist() == changed.before.tolist()
    assert flips(three, 0, 2).spoiled == 2 and flips(three, 0, 2).mended == 0


def test_nothing_flips_between_a_variant_and_itself() -> None:
    same = flips(scores([0, 1], labels=[0, 0]), 0, 0)
    assert len(same) == same.spoiled == same.mended == 0
