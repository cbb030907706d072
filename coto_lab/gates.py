"""One gate per transformer block, over any PEFT model or any model made of our own ``LoRALinear``.

A shut gate makes its layers compute ``base_layer(x)`` and nothing else: the adapter costs no arithmetic, gets no
gradient (``grad`` stays None), and so no optimiser update, no weight decay and no change of momentum. A *dropped* gate
is shut only while its layers are training, as ``nn.Dropout`` is active only then; a *closed* gate is shut by hand and
holds in evaluation too.

How: `coto_lab._gated_layer`. Keys of the state dict, ``isinstance``, copying, saving and merging are as before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from numbers import Integral
from typing import Any, Literal

import torch
from torch import Tensor, nn

from coto_lab._gate_checks import block_name, check_forward, check_model, find_adapter_layers, group_layers
from coto_lab._gated_layer import Gate, gated, set_class

Which = Tensor | int | str | Iterable[int] | Iterable[str]


def attach_gates(model: nn.Module, by: Literal["block", "module"] = "block") -> Gates:
    """Put a gate on every adapter layer of ``model``, one for all layers of a block, or one for each layer.

    Blocks are found by the first index in a module's name (``vit.layers.3.attention.q_proj`` is on ``vit.layers.3``;
    stages that hold ``blocks``, as in Swin, count as ``layers.1.blocks.2``), so uneven blocks, two stacks (T5) and any
    choice of target modules work. Stages that hold something else than ``blocks`` (ConvNeXt's ``stages.2.layers.5``) are
    not looked into: they get one gate each, ``stages.2``. All gates are open at first and nothing else about the model changes.

    Args:
        model: a PEFT model, a transformers model with ``add_adapter``, or a model that contains ``LoRALinear``.
        by: ``"block"``, as in the paper, or ``"module"``.

    Raises:
        ValueError: no adapter layers; gates already attached; an adapter layer on no block (with ``by="block"``);
            AdaLoRA; a layer whose ``forward`` was replaced on the instance (accelerate hooks); an unknown ``by``.

    Warns:
        UserWarning: the initialisation rewrote the base weights (PiSSA and its kin), or layers on different gates share
            trainable parameters (VBLoRA and its kin).

    Source: arXiv:2506.05713, progressive activation; no rescaling by 1/p.
    """
    if by not in ("block", "module"):
        raise ValueError(f"by={by!r} is not known; use 'block' (one gate per transformer block) or 'module'.")
    layers = find_adapter_layers(model)
    check_model(model, layers)
    groups = group_layers(layers, by)
    return Gates({gate: {name: layers[name] for name in members} for gate, members in groups.items()})


def gates_of(model: nn.Module) -> Gates:
    """The gates that ``model`` already carries: after ``copy.deepcopy``, unpickling, or where the handle was lost.

    Raises:
        ValueError: the model carries no gates.
    """
    groups: dict[str, dict[str, nn.Module]] = {}
    for name, layer in find_adapter_layers(model).items():
        if hasattr(layer, "_coto_gate"):
            groups.setdefault(layer._coto_gate.name, {})[name] = layer  # type: ignore[union-attr, arg-type]
    if not groups:
        raise ValueError("this model carries no gates; call attach_gates(model) first.")
    return Gates(groups)


class Gates:
    """Handles to the gates of one model; made by `attach_gates`.

    Every mask is a ``BoolTensor [n_gates]``, True = open. ``which`` is such a mask, an index, a name, or several of those.

    Attributes:
        names: one name per gate, in the model's order, e.g. ``("vit.layers.0", "vit.layers.1", ...)``.
        blocks: the block that each gate is on; the same as ``names`` where gates were attached by block.
        modules: names of all gated layers, gate by gate, e.g. ``"vit.layers.0.attention.q_proj"``.
        layers: those layers, in the same order.
        gate_of_module: index of each layer's gate, int64 ``[n_modules]``.
    """

    def __init__(self, groups: dict[str, dict[str, nn.Module]]):
        self.names = tuple(groups)
        self.blocks = tuple(block_name(name) or name for name in groups)
        self.modules = tuple(name for members in groups.values() for name in members)
        self.layers = tuple(layer for members in groups.values() for layer in members.values())
        sizes = torch.tensor([len(members) for members in groups.values()])
        self.gate_of_module = torch.arange(len(groups)).repeat_interleave(sizes)
        self._groups = tuple(tuple(members.values()) for members in groups.values())
        self._gates = tuple(
            getattr(members[0], "_coto_gate", None) or Gate(name)
            for name, members in zip(self.names, self._groups, strict=True)
        )
        for gate, members in zip(self._gates, self._groups, strict=True):
            for layer in members:
                if not hasattr(layer, "_coto_gate"):
                    set_class(layer, gated(type(layer)))
                    layer._coto_gate = gate  # type: ignore[assignment]

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Gates({len(self)}, open: {int(self.mask.sum())}, names: {self.names[0]} ... {self.names[-1]})"

    @property
    def mask(self) -> Tensor:
        """What is open now: ``BoolTensor [n_gates]``. A dropped gate counts as open while its layers are in evaluation."""
        pairs = zip(self._gates, self._groups, strict=True)
        return torch.tensor([not gate.is_shut(layers[0].training) for gate, layers in pairs])

    def train_with(self, mask: Tensor) -> None:
        """Drop every gate where ``mask`` (``BoolTensor [n_gates]``) is False, while the layers are training.

        Gradients that the dropped adapters still hold are set to None: an optimiser then leaves them alone even after
        ``zero_grad(set_to_none=False)``, whose zeros would be decayed and moved by old momentum.
        """
        for gate, layers, is_open in zip(self._gates, self._groups, self._check_mask(mask).tolist(), strict=True):
            gate.dropped = not is_open
            if gate.dropped:
                for layer in layers:
                    for parameter in layer.parameters():
                        if parameter.requires_grad:
                            parameter.grad = None

    def close(self, which: Which) -> None:
        """Shut the gates ``which`` (a mask closes where it is True) by hand, in training and evaluation."""
        for index in self._indices(which):
            self._gates[index].closed = True

    def open(self, which: Which | None = None) -> None:
        """Open the gates ``which`` (default: all): no longer closed by hand, nor dropped by a training mask."""
        for index in range(len(self)) if which is None else self._indices(which):
            self._gates[index].closed = self._gates[index].dropped = False

    @contextmanager
    def only(self, which: Which) -> Iterator[None]:
        """Within the block, the gates ``which`` are open and the rest closed; afterwards, all is as it was."""
        chosen = set(self._indices(which))
        before = [(gate.closed, gate.dropped) for gate in self._gates]
        try:
            for index, gate in enumerate(self._gates):
                gate.closed, gate.dropped = index not in chosen, False
            yield
        finally:
            for gate, (closed, dropped) in zip(self._gates, before, strict=True):
                gate.closed, gate.dropped = closed, dropped

    def detach(self) -> None:
        """Take the gates off: the layers' classes, the state dict and the outputs are as before `attach_gates`.

        Raises:
            ValueError: a layer's ``forward`` was replaced on the instance since (accelerate hooks).
        """
        check_forward(dict(zip(self.modules, self.layers, strict=True)))
        for layer in self.layers:
            if hasattr(layer, "_coto_gate"):
                set_class(layer, type(layer)._ungated_class)  # type: ignore[attr-defined]
                del layer._coto_gate

    def _check_mask(self, mask: Tensor) -> Tensor:
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool or mask.shape != (len(self),):
            found = f"{mask.dtype} {list(mask.shape)}" if isinstance(mask, Tensor) else type(mask).__name__
            raise ValueError(f"mask must be a BoolTensor [{len(self)}], one entry per gate, True = open; got {found}.")
        return mask

    def _indices(self, which: Which) -> list[int]:
        if isinstance(which, Tensor) and which.dtype == torch.bool:
            return self._check_mask(which).nonzero().flatten().tolist()
        items: Any = which.tolist() if isinstance(which, Tensor) else which
        several = isinstance(items, Iterable) and not isinstance(items, str)
        return [self._index(item) for item in (items if several else [items])]

    def _index(self, item: Any) -> int:
        item = item.tolist() if isinstance(item, Tensor) else item
        if isinstance(item, str) and item in self.names:
            return self.names.index(item)
        if isinstance(item, Integral) and not isinstance(item, bool) and -len(self) <= int(item) < len(self):
            return int(item) % len(self)
        raise ValueError(
            f"which: {item!r} is no gate of this model; use a name ({self.names[0]!r} ... {self.names[-1]!r}), an index "
            f"from 0 to {len(self) - 1}, or a BoolTensor [{len(self)}]."
        )
