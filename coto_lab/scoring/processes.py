"""Sharing out variants among the processes of a distributed run."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import distributed

from coto_lab.scoring.scores import Scores
from coto_lab.scoring.variant import Variant


def by_all_processes(variants: Sequence[Variant], score: Callable[[Sequence[Variant]], Scores]) -> Scores:
    """``score(variants)``, of which each process does its share, where there are several; all of them get the whole.

    Every process must call this with the same variants.

    Source: accelerate's ``gather_object``.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return score(variants)
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState()
    places = list(range(len(variants)))[state.process_index :: state.num_processes]
    own = [(places, score([variants[i] for i in places]))] if places else []
    found = gather_object(own)
    order = [place for share, _ in found for place in share]
    return Scores.join([scores for _, scores in found]).take(torch.tensor(order).argsort())
