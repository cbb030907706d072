"""An adapter layer that asks a gate first: its class is swapped for a cached subclass with another ``forward``.

This is the technique of ``torch.nn.utils.parametrize`` and FSDP2: unlike a replaced method it survives ``deepcopy`` and
pickling, unlike a forward hook it saves the arithmetic, and unlike a wrapper module it renames no parameter.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

_PEFT_ONLY_ARGUMENTS = ("adapter_names", "alora_offsets")  # PEFT's forward takes these; a base layer does not know them


class Gate:
    """The switch that the layers of one block share."""

    def __init__(self, name: str):
        self.name = name
        self.closed = False  # by hand: holds in training and evaluation
        self.dropped = False  # by a training mask: holds only while the layer trains
        self.last_forward: bool | None = None  # was it shut in the last training forward? A recomputation must agree.

    def is_shut(self, training: bool) -> bool:
        """Whether the adapter of a layer in that mode is left out."""
        return self.closed or (self.dropped and training)


_gated_classes: dict[type, type[nn.Module]] = {}  # one per layer class, so that equal layers keep equal classes


def gated(layer_class: Any) -> type[nn.Module]:
    """The subclass of ``layer_class`` that asks its gate before it adds the adapter."""
    if layer_class in _gated_classes:
        return _gated_classes[layer_class]

    class Gated(layer_class):
        _ungated_class = layer_class

        def forward(self, *args: Any, **kwargs: Any) -> Any:
            gate = self._coto_gate
            shut = gate.is_shut(self.training)
            if self.training and not torch.compiler.is_compiling():
                _check_recomputation(gate, shut)
            if not shut:
                return super().forward(*args, **kwargs)
            if getattr(self, "merged", False):
                raise RuntimeError(
                    f"gate {gate.name!r} is shut, but the adapter of this layer is merged into its base weight, so it cannot "
                    "be left out. Call model.unmerge_adapter() first, or gates.open()."
                )
            return self.base_layer(*args, **{k: v for k, v in kwargs.items() if k not in _PEFT_ONLY_ARGUMENTS})

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


def _check_recomputation(gate: Gate, shut: bool) -> None:
    # Gradient checkpointing runs forward again inside backward. Its reentrant kind would silently differentiate another
    # function if the gate had moved in between. A graph task is under way (id other than -1) only inside backward.
    if torch._C._current_graph_task_id() == -1:
        gate.last_forward = shut
    elif shut != gate.last_forward:
        raise RuntimeError(
            f"gate {gate.name!r} was changed between forward and backward, and gradient checkpointing recomputes the forward "
            "pass: the gradients would be wrong. Change gates only before a forward pass or after its backward pass."
        )
