"""Merging: adapter states in, one adapter state out. No model is run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.configuration import check_start
from coto_lab.ground.lists import list_of
from coto_lab.merging.fuse import Fuse
from coto_lab.merging.registry import find_rule
from coto_lab.merging.rule import Rule
from coto_lab.scoring.sources import SOURCES, Source, open_source
from coto_lab.training.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def merge(
    adapters: Sequence[Source],
    how: str | Rule = "fuse",
    weights: Sequence[float] | None = None,
    *,
    base: PreTrainedModel | None = None,
) -> Adapter:
    """One adapter from several of the same base.

    ``"fuse"`` averages the factors (`Fuse`; any PEFT method) and ``"ensemble"`` the updates (`Ensemble`). The names of the
    other rules are in `coto_lab.merging.registry`; a rule as an object, such as ``Ties(density=0.3)``, has options of its own.
    Rules that learn from data are in `coto_lab.merging.fit_merge`; `coto_lab.merging.retrieval` chooses for each input.
    Adapters in half precision are merged in float32, which is what the result has.

    Args:
        adapters: at least one; runs stand for their adapters, and folders for what is in them.
        how: a rule, or its name.
        weights: one finite number per adapter; by default 1/n each for rules that average, and 1 each for the others.
        base: the base model that all were trained on, for rules on updates where these are no products s·BA; it is not
            changed.

    Raises:
        TypeError: ``adapters`` is no list of runs, adapters or folders.
        ValueError: no adapters; an unknown ``how``; weights that do not fit; runs of different bases; adapters that hold NaN or
            infinity, or do nothing; adapters of different methods, modules or (for fusion) configurations, random matrices or
            starts; a rule on updates of adapters whose update is not s·BA, without ``base``, or that have no ΔW, or change
            more than the weights of linear layers.
    """
    rule = find_rule(how)
    items = list_of("adapters", adapters, SOURCES, "give a list of runs, adapters or their folders.")
    default = [1 / len(items) if rule.averages else 1.0] * len(items)
    shares = default if weights is None else _numbers(weights)
    if len(shares) != len(items) or not all(math.isfinite(share) for share in shares):
        raise ValueError(f"weights={weights!r}: give one finite number for each of the {len(items)} adapters.")
    sources = [open_source(item, f"adapters[{i}]") for i, item in enumerate(items)]
    bases = {item.base: i for i, item in enumerate(sources) if item.base is not None}
    if len(bases) > 1:
        found = ", ".join(f"{base!r} (number {i})" for base, i in bases.items())
        raise ValueError(f"the adapters are of different bases: {found}. Merge those that were trained on the same base model.")
    parts = [item.adapter if isinstance(item, Run) else item for item in sources]
    names = [set(part.tensors) for part in parts]
    if any(other != names[0] for other in names):
        differing = sorted(set().union(*names) - names[0].intersection(*names))
        raise ValueError(f"the adapters are of different methods or modules: not all have {differing[:2]}.")
    for i, part in enumerate(parts):
        _check_values(part, i)
    parts = [in_single(part) for part in parts]
    if isinstance(rule, Fuse):
        _check_starts(sources)
    try:
        merged = rule.merged(parts, shares, base)
    except torch.linalg.LinAlgError as error:
        raise ValueError(
            f"{rule} cannot take these adapters apart: {error} Are their numbers, or weights, far too large?"
        ) from error
    if odd := next((name for name, tensor in merged.tensors.items() if not tensor.isfinite().all()), None):
        raise ValueError(f"the merged adapter is not finite, in {odd}: numbers in the adapters, or weights, are far too large.")
    return replace(merged, base=next(iter(bases), None))


def _numbers(weights: Sequence[float]) -> list[float]:
    """The weights as Python's numbers; none where one is no number."""
    try:
        return [] if isinstance(weights, str) else [float(weight) for weight in weights]
    except (TypeError, ValueError):
        return []


def in_single(adapter: Adapter) -> Adapter:
    """The adapter in float32 where it is in half precision: decompositions need it, and sums are rounded less."""
    if not any(tensor.is_floating_point() and tensor.itemsize < 4 for tensor in adapter.tensors.values()):
        return adapter
    wide = {
        name: tensor.to(torch.promote_types(tensor.dtype, torch.float32)) if tensor.is_floating_point() else tensor
        for name, tensor in adapter.tensors.items()
    }
    return replace(adapter, tensors=wide)


def _check_values(adapter: Adapter, i: int) -> None:
    """ValueError for an adapter that holds a number that is not finite, or a LoRA that is zero but for its factors A."""
    if odd := next((name for name, tensor in adapter.tensors.items() if not tensor.isfinite().all()), None):
        raise ValueError(
            f"adapter {i} holds NaN or infinity, in {odd}: its training diverged, or the file is damaged. Leave it out."
        )
    others = [tensor for name, tensor in adapter.tensors.items() if not name.endswith(".lora_A.weight")]
    if len(others) < len(adapter.tensors) and not any(bool(tensor.any()) for tensor in others):
        raise ValueError(f"all factors B of adapter {i} are zero, so it does nothing: it was not trained. Leave it out.")


def _check_starts(sources: Sequence[Run | Adapter]) -> None:
    """ValueError for adapters whose factors began in another base: an average of these means nothing."""
    methods = {i: item.recipe.adapter_method for i, item in enumerate(sources) if isinstance(item, Run)}
    for i, method in methods.items():
        j = next((j for j, other in methods.items() if other.name != method.name), None)
        if method.rewrites_base and j is not None:
            raise ValueError(
                f"adapter {i} is of method {method.name!r}, which moves a part of the base's weights into its factors, and "
                f"adapter {j} of method {methods[j].name!r}: the average of such factors means nothing. Use how='ensemble'."
            )
    for item in sources:
        check_start((item.adapter if isinstance(item, Run) else item).config)
