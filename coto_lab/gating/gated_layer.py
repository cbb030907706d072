"""An adapter layer that asks a gate before it adds its adapter.

The layer's class is replaced by a cached subclass with another ``forward``. ``torch.nn.utils.parametrize`` and FSDP2 use the
same technique. Unlike a replaced method, the subclass survives ``deepcopy`` and pickling. Unlike a forward hook, it saves the
arithmetic. Unlike a wrapper module, it renames no parameter.
"""

from __future__ import annotations

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
        name: the gate's name.
        block: the block that the gate is on.
        tower: number of the tower that the block is in (`coto_lab.adapters.towers.towers_of`).
        adapters: names of the adapters that the gate leaves out when it is shut; any other adapter of its layers stays.
        beside: names of the other adapters that were active when the gate was made.
        closed: whether the gate is shut by hand, in training and evaluation.
        dropped: whether the gate is shut by a training mask, while the layer trains.
    """

    def __init__(self, name: str, block: str, tower: int, adapters: frozenset[str], beside: frozenset[str]):
        self.name, self.block, self.tower = name, block, tower
        self.adapters, self.beside = adapters, beside
        self.closed = self.dropped = False
        self._forwards: set[bool] = set()  # whether the gate was shut, in the training passes since the last recomputation
        self._recomputed = False

    def is_shut(self, training: bool) -> bool:
        """Whether a forward pass that begins now leaves out the adapters of a layer.

        ``training`` is the layer's mode. A dropped gate is shut only in training mode with gradients. In training mode without
        gradients (`generate` in a callback, rollouts) it is open, as in evaluation.
        """
        return self.closed or (training and self.dropped and torch.is_grad_enabled())

    def is_shut_in_this_pass(self, training: bool) -> bool:
        """Whether the forward pass that is running leaves out the adapters of a layer.

        Gradient checkpointing runs a part of the pass without gradients, and runs that part again in the backward pass.
        """
        recomputing = torch._C._current_graph_task_id() != -1  # a graph task is running only inside backward
        if not recomputing and torch.is_grad_enabled():
            return self._noted(self.is_shut(training), training)
        shut = self.closed or (self.dropped and training)
        # Reentrant checkpointing: the recomputation uses the state that its forward pass found, even if the gate was switched
        # since.
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
    """Contexts of the autograd functions in the current call stack, the innermost first.

    Reentrant checkpointing is an autograd function, in PyTorch as in DeepSpeed: its forward pass runs a part of the model
    without gradients, and its backward pass runs that part again. By convention the first argument of both is the same object,
    ``ctx``. This object has ``next_functions`` only if there will be a backward pass.
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
            else:  # sampling or a reentrant checkpoint: only the call stack tells which, and a compiled graph cannot read it
                shut = outside_graphs(gate, self.training)
            if not shut:
                return super().forward(*args, **kwargs)
            check_unmerged(self, gate)
            return _forward_without(self, gate.adapters, super().forward, args, kwargs)

        def __reduce_ex__(self, protocol: Any) -> Any:  # pickle and deepcopy must make the class again at run time
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
    vars(layer).pop("forward", None)  # removed accelerate hooks leave the old class's own method here
    layer.__class__ = layer_class


def check_unmerged(layer: nn.Module, gate: Gate) -> None:
    """Raise RuntimeError where the adapters that ``gate`` would leave out are merged into the base weight."""
    if merged := gate.adapters.intersection(getattr(layer, "merged_adapters", ())):
        raise RuntimeError(
            f"gate {gate.name!r} cannot be shut: the adapter {sorted(merged)} of its layers is merged into their base weights, "
            "so it cannot be left out. Call model.unmerge_adapter() first, or open the gate (gates.open())."
        )


def _forward_without(layer: Any, adapters: frozenset[str], forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The layer's output without ``adapters``. Its other adapters still run; if there are none, the base layer runs alone."""
    if (names := kwargs.get("adapter_names")) is not None:  # a batch of mixed adapters; in PEFT "__base__" means no adapter
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
    with _attribute(layer, "_disable_adapters", True):  # PEFT's own switch removes the arguments that only its layer knows
        return forward(*args, **kwargs)


@contextmanager
def _attribute(owner: Any, name: str, value: Any) -> Iterator[None]:
    """Give an attribute of ``owner`` another value inside the ``with`` block."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
