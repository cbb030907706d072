"""An adapter layer that asks a gate first: its class is swapped for a cached subclass with another ``forward``.

This is the technique of ``torch.nn.utils.parametrize`` and FSDP2: unlike a replaced method it survives ``deepcopy`` and
pickling, unlike a forward hook it saves the arithmetic, and unlike a wrapper module it renames no parameter.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import nn


class Gate:
    """The switch that the layers of one block share.

    Attributes:
        name: its name.
        block: the block that it is on.
        tower: number of the tower that the block is in (`coto_lab.adapters.towers.towers_of`).
        adapters: names of the adapters that it leaves out when it is shut; any other adapter of its layers stays.
        beside: names of the others that were active when it was made.
        closed: shut by hand, in training and evaluation.
        dropped: shut by a training mask, while the layer trains.
    """

    def __init__(self, name: str, block: str, tower: int, adapters: frozenset[str], beside: frozenset[str]):
        self.name, self.block, self.tower = name, block, tower
        self.adapters, self.beside = adapters, beside
        self.closed = self.dropped = False
        self._forwards: set[bool] = set()  # what training forward passes since the last recomputation found: shut or not
        self._recomputed = False

    def is_shut(self, training: bool) -> bool:
        """Whether the adapters of a layer in that mode are left out, in a pass that begins now.

        Training is a forward pass in training mode with gradients. In one without (`generate` in a callback, rollouts) a
        dropped gate is open, as in evaluation.
        """
        return self.closed or (self.dropped and training and torch.is_grad_enabled())

    def is_shut_in_this_pass(self, training: bool) -> bool:
        """The same for the pass under way. Gradient checkpointing runs part of it without gradients, and again in backward."""
        recomputing = torch._C._current_graph_task_id() != -1  # a graph task is under way only inside backward
        if not recomputing and (not training or torch.is_grad_enabled()):
            return self._noted(self.is_shut(training), training)
        shut = self.closed or (self.dropped and training)
        # The reentrant kind: what its forward pass found holds in the recomputation, whatever was switched since then.
        checkpoints = (vars(context).setdefault("coto_gates", {}) for context in _function_contexts() if context.next_functions)
        inner = next(checkpoints, None)
        if recomputing:
            for states in chain([inner] if inner is not None else [], checkpoints):
                if self in states:
                    return inner.setdefault(self, states[self])  # type: ignore[union-attr]
        if inner is None and not torch.is_grad_enabled():
            return self.is_shut(training)  # sampling
        if not recomputing:
            self._noted(shut, training)
        elif training:
            self._check_recomputed(shut)
        return shut if inner is None else inner.setdefault(self, shut)

    def _noted(self, shut: bool, training: bool) -> bool:
        if training:
            if self._recomputed:
                self._forwards, self._recomputed = set(), False
            self._forwards.add(shut)
        return shut

    def _check_recomputed(self, shut: bool) -> None:
        self._recomputed = True
        if self._forwards and shut not in self._forwards:
            raise RuntimeError(
                f"gate {self.name!r} was changed between forward and backward, and gradient checkpointing recomputes the "
                "forward pass: the gradients would be wrong. Change gates before a forward pass or after its backward pass."
            )


def _function_contexts() -> Iterator[Any]:
    """Contexts of the autograd functions that the code under way was called from, from the innermost outwards.

    Reentrant checkpointing is an autograd function, in PyTorch as in DeepSpeed: its forward pass runs a part of the model
    without gradients, and its backward pass runs it again. By convention the first argument of both is ``ctx``, the same
    object. It has ``next_functions`` only where there will be a backward pass.
    """
    frame = sys._getframe(1)
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code.co_varnames[:1] == ("ctx",):
            context = frame.f_locals["ctx"]
            if isinstance(context, torch.autograd.function.FunctionCtx):
                yield context


_gated_classes: dict[type, type[nn.Module]] = {}  # one per layer class, so that equal layers keep equal classes


def gated(layer_class: Any) -> type[nn.Module]:
    """The subclass of ``layer_class`` that asks its gate before it adds the adapter."""
    if layer_class in _gated_classes:
        return _gated_classes[layer_class]

    outside_graphs = torch.compiler.disable(Gate.is_shut_in_this_pass)

    class Gated(layer_class):
        _ungated_class = layer_class

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            gate = self._coto_gate
            if not torch.compiler.is_compiling():
                shut = gate.is_shut_in_this_pass(self.training)
            elif torch.is_grad_enabled() or not self.training:
                shut = gate.is_shut(self.training)
            else:  # sampling, or a reentrant checkpoint: only the callers tell, and a graph cannot ask them
                shut = outside_graphs(gate, self.training)
            if not shut:
                return super().forward(*args, **kwargs)
            check_unmerged(self, gate)
            return _forward_without(self, gate.adapters, super().forward, args, kwargs)

        def __reduce_ex__(self, protocol: Any) -> Any:  # the class is made at run time: pickle and deepcopy rebuild it
            return _rebuild, (layer_class,), self.__dict__

    Gated.__name__, Gated.__qualname__ = layer_class.__name__, layer_class.__qualname__
    Gated.__module__, Gated.__doc__ = layer_class.__module__, layer_class.__doc__
    _gated_classes[layer_class] = Gated
    return Gated


def _rebuild(layer_class: type[nn.Module]) -> nn.Module:
    cls = gated(layer_class)
    return cls.__new__(cls)


def set_class(layer: nn.Module, layer_class: type[nn.Module]) -> None:
    """Make ``layer`` an instance of ``layer_class``; parameters, buffers and hooks stay."""
    vars(layer).pop("forward", None)  # what removed accelerate hooks leave behind: the old class's own method
    layer.__class__ = layer_class


def check_unmerged(layer: nn.Module, gate: Gate) -> None:
    """Raise RuntimeError where the adapters that ``gate`` would leave out are merged into the base weight."""
    if merged := gate.adapters.intersection(getattr(layer, "merged_adapters", ())):
        raise RuntimeError(
            f"gate {gate.name!r} cannot be shut: the adapter {sorted(merged)} of its layers is merged into their base weights, "
            "so it cannot be left out. Call model.unmerge_adapter() first, or open the gate (gates.open())."
        )


def _forward_without(layer: Any, adapters: frozenset[str], forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The layer's output without ``adapters``: other adapters on it stay, and without any other it is the base layer's."""
    if (names := kwargs.get("adapter_names")) is not None:  # a batch of mixed adapters; "__base__" is PEFT's word for none
        kept = ["__base__" if name in adapters else name for name in names]
        if set(kept) != {"__base__"}:
            return forward(*args, **kwargs | {"adapter_names": kept})
    else:
        kept = [name for name in getattr(layer, "active_adapters", ()) if name not in adapters]
        if kept and layer._get_available_adapters().intersection(kept):
            with _attribute(layer, "_active_adapter", kept):
                return forward(*args, **kwargs)
    if not kwargs:
        return layer.base_layer(*args)
    base = layer.base_layer.forward
    known = _keywords(getattr(base, "__func__", base))
    if known is None:  # it takes any keyword: PEFT's own switch takes off what only its layer knows
        with _attribute(layer, "_disable_adapters", True):
            return forward(*args, **kwargs)
    return layer.base_layer(*args, **{key: value for key, value in kwargs.items() if key in known})


@contextmanager
def _attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Within the block, the attribute of ``owner`` has another value."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


@functools.cache
def _keywords(forward: Callable[..., Any]) -> frozenset[str] | None:
    """Names of the keyword arguments that a method takes; None if it takes any."""
    parameters = inspect.signature(forward).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return frozenset(parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY)
