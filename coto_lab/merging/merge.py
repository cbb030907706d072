"""Merging: adapter states in, one adapter state out. No model is run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.configuration import function_of
from coto_lab.adapters.names import lora_keys
from coto_lab.ground.lists import list_of
from coto_lab.scoring.sources import SOURCES, Source, open_source
from coto_lab.training.run import Run


def merge(adapters: Sequence[Source], how: str = "fuse", weights: Sequence[float] | None = None) -> Adapter:
    """One adapter from several of the same base.

    ``"fuse"`` averages the factors, A = Σ wᵢAᵢ and B = Σ wᵢBᵢ (fusion; any PEFT method). ``"ensemble"`` averages the
    updates, ΔW = Σ wᵢ sᵢBᵢAᵢ, exactly: the factors are stacked along the rank, which becomes Σ rᵢ (LoRA only).

    Fusion of two LoRAs gives ΔW = s·(w₁B₁ + w₂B₂)(w₁A₁ + w₂A₂): each one's own update s·BᵢAᵢ has the weight wᵢ², and
    cross terms w₁w₂·s·(B₁A₂ + B₂A₁) appear. (PEFT's ``"linear"`` combination gives the factors the roots of the weights.)
    Fusion averages new layers that were trained whole, such as heads (``modules_to_save``), too: Σ wᵢWᵢ. So give weights that
    sum to 1, and adapters whose new layers began alike. They are no updates, and an ensemble of such adapters is refused.

    Args:
        adapters: at least one; runs stand for their adapters, and folders for what is in them.
        how: ``"fuse"`` or ``"ensemble"``.
        weights: one finite number per adapter; by default 1/n each.

    Raises:
        TypeError: ``adapters`` is no list of runs, adapters or folders.
        ValueError: no adapters; an unknown ``how``; weights that do not fit; runs of different bases; adapters of different
            methods, modules or (for fusion) configurations; an ensemble of adapters whose update is not s·BA.

    Source: arXiv:2506.05713, which calls the first linear fusion; PEFT's ``add_weighted_adapter`` (``"linear"``, ``"cat"``).
    """
    if not isinstance(how, str) or how not in _RULES:
        raise ValueError(
            f"how={how!r}: must be 'fuse' (average the factors) or 'ensemble' (average the updates). Give weights by their "
            "name, weights=[...]."
        )
    items = list_of("adapters", adapters, SOURCES, "give a list of runs, adapters or their folders.")
    shares = [1 / len(items)] * len(items) if weights is None else _numbers(weights)
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
    return replace(_RULES[how](parts, shares), base=next(iter(bases), None))


def _numbers(weights: Sequence[float]) -> list[float]:
    """The weights as Python's numbers; none where one is no number."""
    try:
        return [] if isinstance(weights, str) else [float(weight) for weight in weights]
    except (TypeError, ValueError):
        return []


def _fuse(adapters: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
    first = adapters[0]
    for i, adapter in enumerate(adapters):
        ours, theirs = function_of(first.config), function_of(adapter.config)
        for key in ours | theirs:
            if ours.get(key) != theirs.get(key):
                raise ValueError(
                    f"fusion averages factors that act alike, but {key} is {first.config.get(key)} in "
                    f"adapter 0 and {adapter.config.get(key)} in adapter {i}. Use how='ensemble' for LoRA of different ranks."
                )
        for name, tensor in adapter.tensors.items():
            if tensor.shape != first.tensors[name].shape:
                raise ValueError(
                    f"{name} is {list(tensor.shape)} in adapter {i} and {list(first.tensors[name].shape)} in adapter 0."
                )
    pairs = list(zip(adapters, weights, strict=True))
    return Adapter(first.config, {name: _sum(w * a.tensors[name] for a, w in pairs) for name in first.tensors})


def _ensemble(adapters: Sequence[Adapter], weights: Sequence[float]) -> Adapter:
    tensors = {}
    try:
        parts = [adapter.factors() for adapter in adapters]
    except ValueError as error:
        raise ValueError(f"an ensemble averages the updates: {error} Use how='fuse'.") from error
    for name in parts[0]:
        key_a, key_b = lora_keys(name)
        tensors[key_a] = torch.cat([part[name][0] for part in parts], dim=0)  # [Σ r, in]
        scaled = [w * part[name][1] for part, w in zip(parts, weights, strict=True)]
        tensors[key_b] = torch.cat(scaled, dim=1)  # [out, Σ r], with weight and scale in it
    rank = sum(adapter.config["r"] for adapter in adapters)
    config = adapters[0].config | {"r": rank, "lora_alpha": rank, "use_rslora": False}  # scale 1
    return Adapter(config, tensors)


def _sum(terms: Any) -> Tensor:
    return torch.stack(list(terms)).sum(0)


_RULES = {"fuse": _fuse, "ensemble": _ensemble}
