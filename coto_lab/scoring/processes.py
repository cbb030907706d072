"""Sharing out variants among the processes of a distributed run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import distributed

from coto_lab.gating.ranks import check_same, digest
from coto_lab.scoring.scores import Scores
from coto_lab.scoring.variant import Variant


def by_all_processes(variants: Sequence[Variant], score: Callable[[Sequence[Variant]], Scores], **settings: Any) -> Scores:
    """``score(variants)``, of which each process does its share, where there are several; all of them get the whole.

    Every process must call this with the same variants and settings.

    Args:
        variants: to be scored.
        score: scores some of them.
        settings: what else must be the same on all processes, by its name.

    Raises:
        ValueError: the processes do not agree on them, or some did not come (`check_same`).

    Source: accelerate's ``gather_object``.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return score(variants)
    about = [(variant.name, None if variant.mask is None else variant.mask.tolist()) for variant in variants]
    check_same(variants=f"{len(variants)} with names and masks {digest(about)}", **settings)
    from accelerate import PartialState
    from accelerate.utils import gather_object

    state = PartialState()
    places = list(range(len(variants)))[state.process_index :: state.num_processes]
    own = [(places, score([variants[i] for i in places]))] if places else []
    found = gather_object(own)
    order = [place for share, _ in found for place in share]
    return Scores.join([scores for _, scores in found]).take(torch.tensor(order).argsort())
