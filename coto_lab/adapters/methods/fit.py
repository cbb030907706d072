"""Whether a method can adapt the layers of a base model, and which methods can where it cannot."""

from __future__ import annotations

import copy
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn

from coto_lab.adapters.methods.method import Method
from coto_lab.adapters.methods.registry import known_methods
from coto_lab.adapters.peft_model import add_adapter


def check_fit(method: Method, base: nn.Module, targets: Sequence[str], r: int) -> None:
    """Raise ValueError for the first of the target layers that ``method`` says it cannot adapt (`Method.misfit`).

    Nor can a method that rewrites weights at its start adapt a layer whose weight is that of another layer, too.
    """
    layers = _target_layers(base, targets)
    shared = _shared_parameters(base) if method.rewrites_base else set()
    for name, layer in layers.items():
        if reason := method.misfit(layer, r):
            raise ValueError(_refusal(method, name, layer, r, reason))
        if id(getattr(layer, "weight", None)) in shared:
            raise ValueError(
                f"method {method.name!r} cannot adapt {name!r}: its start rewrites the weight, which another layer of the base "
                "uses, too. Leave this layer out of the targets, or take 'lora' or 'rslora'."
            )


@contextmanager
def said_clearly(method: Method, base: nn.Module, targets: Sequence[str], r: int) -> Iterator[None]:
    """Within it, an error of PEFT about a layer that ``method`` cannot adapt names the layer and the methods that can.

    Raises:
        ValueError: in the place of such an error.
    """
    layers = _one_of_each_kind(_target_layers(base, targets))
    try:
        yield
    except torch.OutOfMemoryError:  # a RuntimeError that says nothing of the layer
        raise
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        for name, layer in layers.items():
            if reason := _why_not(method, layer, r):
                raise ValueError(_refusal(method, name, layer, r, reason)) from error
        raise


def _shared_parameters(base: nn.Module) -> set[int]:
    """The parameters that more than one module holds, such as an embedding that is the output layer, too."""
    owners = Counter(id(parameter) for _, parameter in base.named_parameters(remove_duplicate=False))
    return {parameter for parameter, times in owners.items() if times > 1}


def _target_layers(base: nn.Module, targets: Sequence[str]) -> dict[str, nn.Module]:
    ends = tuple(f".{target}" for target in targets)
    return {name: module for name, module in base.named_modules() if f".{name}".endswith(ends)}


def _one_of_each_kind(layers: dict[str, nn.Module]) -> dict[str, nn.Module]:
    kinds = {
        (type(layer), getattr(getattr(layer, "weight", None), "shape", None)): (name, layer)
        for name, layer in reversed(layers.items())
    }
    return dict(reversed(kinds.values()))


def _refusal(method: Method, name: str, layer: nn.Module, r: int, reason: str) -> str:
    able = [repr(own) for own, kind in known_methods().items() if own != method.name and not _why_not(kind(), layer, r)]
    advice = f"Methods that can with their default options: {', '.join(able)}" if able else "No method of this lab can"
    return f"method {method.name!r} cannot adapt {name!r} ({type(layer).__name__}): {reason}. {advice}."


def _why_not(method: Method, layer: nn.Module, r: int) -> str:
    """Why PEFT does not put an adapter of this method on a copy of the layer; empty where it does."""
    reason = method.misfit(layer, r)
    if reason or method.rewrites_base:  # its start decomposes the weight, which takes long for a large layer
        return reason
    config = method.peft_config(r=r, alpha=float(r), dropout=0.0, targets=["layer"])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            add_adapter(nn.ModuleDict({"layer": copy.deepcopy(layer)}), config)
    except (AttributeError, TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        return f"PEFT says: {str(error).strip().rstrip('.')}"
    return ""
