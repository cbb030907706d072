"""Merging: adapter states in, one adapter state out. No model is run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.configuration import check_start, function_of
from coto_lab.adapters.names import DRAWN, lora_keys
from coto_lab.adapters.whole_update import changed_beyond, lora_of_update
from coto_lab.ground.lists import list_of
from coto_lab.scoring.sources import SOURCES, Source, open_source
from coto_lab.training.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def merge(
    adapters: Sequence[Source],
    how: str = "fuse",
    weights: Sequence[float] | None = None,
    *,
    base: PreTrainedModel | None = None,
) -> Adapter:
    """One adapter from several of the same base.

    ``"fuse"`` averages the factors, A = Σ wᵢAᵢ and B = Σ wᵢBᵢ (fusion; any PEFT method). ``"ensemble"`` averages the
    updates, ΔW = Σ wᵢ ΔWᵢ, exactly. For LoRA the factors are stacked along the rank, which becomes Σ rᵢ. For other methods
    give ``base``; the result is a LoRA of full rank (`lora_of_update`), or, where updates are linear in what was trained (IA3,
    MiSS), weights sum to 1 and configurations agree, the fusion itself.

    Fusion of two LoRAs gives ΔW = s·(w₁B₁ + w₂B₂)(w₁A₁ + w₂A₂): each one's own update s·BᵢAᵢ has the weight wᵢ², and
    cross terms w₁w₂·s·(B₁A₂ + B₂A₁) appear. (PEFT's ``"linear"`` combination gives the factors the roots of the weights.)
    Fusion averages new layers that were trained whole, such as heads (``modules_to_save``), too: Σ wᵢWᵢ. So give weights that
    sum to 1, and adapters whose new layers began alike. They are no updates, and an ensemble of such adapters is refused. What
    was drawn at random and not trained (the matrices of VeRA and RandLoRA) stays as it is.

    Args:
        adapters: at least one; runs stand for their adapters, and folders for what is in them.
        how: ``"fuse"`` or ``"ensemble"``.
        weights: one finite number per adapter; by default 1/n each.
        base: the base model that all were trained on, for an ensemble of adapters whose updates are no products s·BA; it is
            not changed.

    Raises:
        TypeError: ``adapters`` is no list of runs, adapters or folders.
        ValueError: no adapters; an unknown ``how``; weights that do not fit; runs of different bases; adapters of different
            methods, modules or (for fusion) configurations, random matrices or starts; an ensemble of adapters whose update is
            not s·BA, without ``base``, or that have no ΔW, or change more than the weights of linear layers.

    Source: arXiv:2506.05713, which calls the first linear fusion; PEFT's ``add_weighted_adapter`` (``"linear"``, ``"cat"``).
    """
    if how not in ("fuse", "ensemble"):
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
    if how == "fuse":
        _check_starts(sources)
    merged = _fuse(parts, shares) if how == "fuse" else _ensemble(parts, shares, base)
    return replace(merged, base=next(iter(bases), None))


def _numbers(weights: Sequence[float]) -> list[float]:
    """The weights as Python's numbers; none where one is no number."""
    try:
        return [] if isinstance(weights, str) else [float(weight) for weight in weights]
    except (TypeError, ValueError):
        return []


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
            if _is_fixed(name, tensor) and not torch.equal(tensor, first.tensors[name]):
                raise ValueError(
                    f"{name}, which was drawn at random and not trained, differs between adapter 0 and adapter {i}, so what "
                    "was trained beside it does not mean the same in both. Use how='ensemble', with base=task.load_base()."
                )
    pairs = list(zip(adapters, weights, strict=True))
    return Adapter(
        first.config,
        {
            name: tensor if _is_fixed(name, tensor) else _sum(w * a.tensors[name] for a, w in pairs)
            for name, tensor in first.tensors.items()
        },
    )


def _is_fixed(name: str, tensor: Tensor) -> bool:
    """Whether a tensor of an adapter is not trained: places in the weight matrix, and what was drawn at random."""
    return not tensor.is_floating_point() or name.endswith(DRAWN)


def _ensemble(adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel | None) -> Adapter:
    if whole := [name for adapter in adapters for name in adapter.apart()[1]]:
        raise ValueError(
            f"an ensemble averages the updates, and {whole[0]} is no update: it was trained whole (modules_to_save). "
            "Use how='fuse'."
        )
    try:
        parts = [adapter.factors() for adapter in adapters]
    except ValueError as error:
        if _is_fusion(adapters, weights):
            return _fuse(adapters, weights)
        if base is not None:
            return _ensemble_of_updates(adapters, weights, base)
        raise ValueError(
            f"an ensemble averages the updates: {error} Use how='fuse', or give base=task.load_base() to average ΔW itself."
        ) from error
    tensors = {}
    for name in parts[0]:
        key_a, key_b = lora_keys(name)
        tensors[key_a] = torch.cat([part[name][0] for part in parts], dim=0)  # [Σ r, in]
        scaled = [w * part[name][1] for part, w in zip(parts, weights, strict=True)]
        tensors[key_b] = torch.cat(scaled, dim=1)  # [out, Σ r], with weight and scale in it
    rank = sum(adapter.config["r"] for adapter in adapters)
    config = adapters[0].config | {"r": rank, "lora_alpha": rank, "use_rslora": False}  # scale 1
    return Adapter(config, tensors)


def _ensemble_of_updates(adapters: Sequence[Adapter], weights: Sequence[float], base: PreTrainedModel) -> Adapter:
    updates = [adapter.update(base) for adapter in adapters]
    for i, (adapter, update) in enumerate(zip(adapters, updates, strict=True)):
        if more := changed_beyond(update, adapter, base):
            raise ValueError(
                f"an ensemble averages the updates ΔW, but adapter {i} ({adapter.config.get('peft_type')}) changes {more[0]}, "
                "too. Use how='fuse'."
            )
    pairs = list(zip(weights, updates, strict=True))
    transposed = any(type(base.get_submodule(name)).__name__ == "Conv1D" for name in updates[0])
    return lora_of_update({name: _sum(w * update[name] for w, update in pairs) for name in updates[0]}, transposed=transposed)


def _is_fusion(adapters: Sequence[Adapter], weights: Sequence[float]) -> bool:
    """Whether the fusion of adapters is their ensemble, too."""
    linear = all(adapter.method is not None and adapter.method.is_linear for adapter in adapters)
    alike = all(function_of(adapter.config) == function_of(adapters[0].config) for adapter in adapters)
    return linear and alike and math.isclose(math.fsum(weights), 1)


def _sum(terms: Any) -> Tensor:
    return torch.stack(list(terms)).sum(0)
