"""One gate per transformer block, over any PEFT model or any model made of our own ``LoRALinear``.

A shut gate leaves out the adapters that train on its layers, so that a layer mostly computes ``base_layer(x)`` alone.
The adapter then costs no arithmetic and gets no gradient (``grad`` stays None). So the optimiser makes no update, no weight
decay and no change of momentum. A *dropped* gate is shut only while its layers train, as ``nn.Dropout`` is active only in
training. A *closed* gate is shut by hand, and it is shut in evaluation too.

`coto_lab.gating.gated_layer` has the technique. Gates change neither the keys of the state dict nor ``isinstance``, copying,
saving and merging.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from coto_lab.adapters.blocks import blocks_of
from coto_lab.adapters.layers import (
    active_adapters,
    adapter_parameters,
    adapters_to_gate,
    find_adapter_layers,
    frozen_adapters,
    peft_configs,
)
from coto_lab.adapters.names import PREFIX
from coto_lab.gating.checkpointing import ask_again
from coto_lab.gating.checks import check_forward, check_model, left_open, limits, listed
from coto_lab.gating.compiling import compile_alone, is_compiled_alone, no_longer_alone, regions
from coto_lab.gating.gated_layer import Gate, check_unmerged, gated, set_class
from coto_lab.gating.grouping import By, group_layers
from coto_lab.gating.selection import Which, check_mask, indices
from coto_lab.gating.tree import as_tree


def attach_gates(model: nn.Module, by: By = "block") -> Gates:
    """Put a gate on every adapter layer of ``model`` that trains; all layers of a block share one gate.

    Blocks are found by their structure, not by their names: ``print(gates)`` shows them, and the table ``pages/blocks.md``
    lists the blocks found in some eighty architectures. All gates are open at first, and nothing else in the model changes.

    Gates control the adapters that are active and train now. They never leave out a frozen adapter on the same layers, nor a
    second adapter that becomes active later (the reference policy of preference training). If no adapter trains (for example,
    when you inspect a trained one), the gates control the active adapters.

    Args:
        model: a PEFT model, a transformers model with ``add_adapter``, or a model that contains ``LoRALinear``.
        by: ``"block"``, as in the paper; ``"module"``, one gate for each layer; a class or a tuple of classes, one gate for
            each module of such a class; or a function that takes the name of an adapter layer (without PEFT's prefix) and
            returns the name of its gate, or None for a layer that stays open.

    Raises:
        ValueError: the model has no adapter layers (prompt and prefix tuning have none); gates are already attached; no layer
            gets a gate; the method is AdaLoRA or Shadow; a layer's ``forward`` was replaced on the instance (accelerate
            hooks); ``by`` is unknown. The model is as before.

    Warns:
        UserWarning: adapter layers are outside of all blocks (a pooler, a projection, a head) and stay open; the
            initialisation rewrote the base weights (PiSSA and similar methods); layers with different gates share trainable
            parameters (VBLoRA and similar methods); other parameters train inside a gated block (biases); the method has a
            loss that trains dropped adapters too (MonteCLoRA, KaSA).

    Source: arXiv:2506.05713, progressive activation; the output is not rescaled by 1/p.
    """
    layers = find_adapter_layers(model)
    check_model(model, layers)
    adapters = adapters_to_gate(layers)
    groups = group_layers(model, {name: layers[name] for name in adapters}, by)
    gated_layers = {name for group in groups for name in group.layers}
    decided = callable(by) and not isinstance(by, type)  # the user's function chose the layers that stay open
    outside = [] if decided else [name.removeprefix(PREFIX) for name in adapters if name not in gated_layers]
    ruled = {name: adapters[name] for name in gated_layers}
    for message in [*left_open(outside), *limits(model, {group.gate: group.layers for group in groups}, ruled)]:
        warnings.warn(message, UserWarning, stacklevel=2)
    for group in groups:
        own = frozenset().union(*(adapters[name] for name in group.layers))
        beside = active_adapters(layers[group.layers[0]]) - own
        gate = Gate(group.gate.removeprefix(PREFIX), group.block.removeprefix(PREFIX), group.tower, own, beside)
        for layer in (layers[name] for name in group.layers):
            set_class(layer, gated(type(layer)))
            layer._coto_gate = gate  # type: ignore[assignment]
    gate_of = {layer: group.gate for group in groups for layer in group.layers}
    for name in regions(gate_of, blocks_of(model, gated_layers)):
        compile_alone(model.get_submodule(name))
    return gates_of(model)


def gates_of(model: nn.Module) -> Gates:
    """The gates that ``model`` already carries, for example after ``copy.deepcopy`` or unpickling.

    Raises:
        ValueError: the model carries no gates.
    """
    layers = {name: layer for name, layer in find_adapter_layers(model).items() if hasattr(layer, "_coto_gate")}
    if not layers:
        raise ValueError("this model carries no gates; call attach_gates(model) first.")
    return Gates(model, layers)


class Gates:
    """Handles to the gates of one model; made by `attach_gates`.

    Every mask is a ``BoolTensor [n_gates]`` in which True means open. ``which`` is such a mask, an index, a name, or several
    indices or names.

    The methods that read or switch gates raise RuntimeError once the gates no longer control what trains: after the gates
    were detached, after their layers were merged and unloaded, after their adapters were deleted or switched off, and after
    an adapter that trains without a gate was added.

    Attributes:
        model: the model that the gates are on.
        names: one name per gate, in the model's order, e.g. ``("vit.layers.0", "vit.layers.1", ...)``.
        blocks: the block that each gate is on; the same as ``names`` where gates were attached by block.
        towers: number of the tower that each gate is in, int64 ``[n_gates]``, or -1 for a gate outside of all towers. A tower
            is a part of the model that a batch may reach alone, as text reaches only one half of CLIP. `CoTo` keeps at least
            one gate open in each tower.
        modules: names of all gated layers, gate by gate, e.g. ``"vit.layers.0.attention.q_proj"``.
        layers: the layers of those names, in the same order.
        gate_of_module: index of each layer's gate, int64 ``[n_modules]``.
    """

    def __init__(self, model: nn.Module, layers: dict[str, nn.Module]):
        groups: dict[Gate, dict[str, nn.Module]] = {}
        for name, layer in layers.items():
            groups.setdefault(layer._coto_gate, {})[name.removeprefix(PREFIX)] = layer  # type: ignore[arg-type]
        self._gates = tuple(groups)
        self._groups = tuple(tuple(members.values()) for members in groups.values())
        self.names = tuple(gate.name for gate in self._gates)
        self.blocks = tuple(gate.block for gate in self._gates)
        self.towers = torch.tensor([gate.tower for gate in self._gates])
        self.modules = tuple(name for members in groups.values() for name in members)
        self.layers = tuple(layer for members in self._groups for layer in members)
        self.gate_of_module = torch.tensor([i for i, members in enumerate(self._groups) for _ in members])
        self.model = model
        holders = {id(child): (module, key) for module in model.modules() for key, child in module.named_children()}
        self._places = tuple(holders.get(id(members[0])) for members in self._groups)  # None: the layer is the whole model
        self._compiled_alone = [module for module in model.modules() if is_compiled_alone(module)]
        self._open = self._ungated()
        self._frozen = frozen_adapters(model)
        self._configs = peft_configs(model)
        self._listed: tuple[dict[int, str], list[list[tuple[nn.Module, str]]]] | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        state = "no longer in use" if self._ended() else f"open: {int(self.mask.sum())}"
        return f"Gates({len(self)}, {state}, names: {self.names[0]} ... {self.names[-1]})"

    def __str__(self) -> str:
        state = f"no longer in use: {ended}" if (ended := self._ended()) else f"{int(self.mask.sum())} open"
        names = iter(self.modules)
        members = [[next(names) for _ in layers] for layers in self._groups]
        return f"{len(self)} gates, {state}\n{as_tree(self.names, members)}"

    @property
    def mask(self) -> Tensor:
        """The gates that are open now, ``BoolTensor [n_gates]``. A dropped gate is open in evaluation and without gradients."""
        self._check()
        pairs = zip(self._gates, self._groups, strict=True)
        return torch.tensor([not gate.is_shut(layers[0].training) for gate, layers in pairs])

    def train_with(self, mask: Tensor) -> None:
        """Drop every gate where ``mask`` (``BoolTensor [n_gates]``) is False, while the layers train.

        Layers train when they run in training mode with gradients. Evaluation, and sampling under ``torch.no_grad()``, use
        every adapter. Gradients that the dropped adapters still hold are set to None, so that the optimiser skips these
        adapters. With the zeros of ``zero_grad(set_to_none=False)``, weight decay and old momentum would still change them.

        Raises:
            ValueError: ``mask`` is not a ``BoolTensor [n_gates]``.
            RuntimeError: the gates are no longer in use, or an adapter to be dropped is merged.
        """
        self._check()
        is_open = check_mask(mask, len(self)).tolist()
        self._check_unmerged([i for i, value in enumerate(is_open) if not value])
        for gate, parameters, value in zip(self._gates, self._parameters(), is_open, strict=True):
            gate.dropped = not value
            if gate.dropped:
                for module, key in parameters:
                    module._parameters[key].grad = None  # type: ignore[union-attr]

    def close(self, which: Which) -> None:
        """Shut the gates ``which`` by hand, in training and evaluation; a mask names the gates where it is True."""
        self._check()
        chosen = indices(which, self.names)
        self._check_unmerged(chosen)
        for index in chosen:
            self._gates[index].closed = True

    def open(self, which: Which | None = None) -> None:
        """Open the gates ``which`` (by default all), whether they were closed by hand or dropped by a training mask."""
        self._check()
        for index in range(len(self)) if which is None else indices(which, self.names):
            self._gates[index].closed = self._gates[index].dropped = False

    @contextmanager
    def only(self, which: Which) -> Iterator[None]:
        """Open the gates ``which`` and close all others inside the ``with`` block; afterwards all gates are as before."""
        self._check()
        chosen = set(indices(which, self.names))
        self._check_unmerged(set(range(len(self))) - chosen)
        before = [(gate.closed, gate.dropped) for gate in self._gates]
        try:
            for index, gate in enumerate(self._gates):
                gate.closed, gate.dropped = index not in chosen, False
            yield
        finally:
            for gate, (closed, dropped) in zip(self._gates, before, strict=True):
                gate.closed, gate.dropped = closed, dropped

    def detach(self) -> None:
        """Take the gates off: the layers' classes, the hooks, the state dict and the outputs are as before `attach_gates`.

        Raises:
            ValueError: a layer's ``forward`` was replaced on the instance after the gates were attached (accelerate hooks).
        """
        check_forward(dict(zip(self.modules, self.layers, strict=True)))
        own = [layer for layer in self.layers if vars(layer).get("_coto_gate") in self._gates]
        for layer in own:
            set_class(layer, type(layer)._ungated_class)  # type: ignore[attr-defined]
            del layer._coto_gate
        if own:  # otherwise other gates were attached later
            ask_again(self.model)
            for region in self._compiled_alone:
                no_longer_alone(region)

    def _check(self) -> None:
        if ended := self._ended():
            raise RuntimeError(f"these gates are no longer in use: {ended}")

    def _ended(self) -> str:
        """Why these gates no longer control what trains, and what to do; empty while they still do."""
        for gate, layers, place in zip(self._gates, self._groups, self._places, strict=True):
            layer = layers[0]
            if vars(layer).get("_coto_gate") is not gate:
                return "they were detached (CoToCallback does so when training ends). Call attach_gates(model)."
            if place is not None and place[0]._modules.get(place[1]) is not layer:
                return (
                    f"{self.modules[0]!r} is no longer a layer of the model (merge_and_unload and unload take adapters off). "
                    "Attach gates to a model with adapters."
                )
            active = active_adapters(layer)
            if gate.adapters.isdisjoint(active):
                return (
                    f"they rule the adapter {listed(gate.adapters)}, but the active one is {listed(active) or 'none'}. Switch "
                    "back with model.set_adapter(...), or call gates.detach() and attach_gates(model) to gate what is active."
                )
        # An adapter that trains without a gate was switched on, unfrozen or added after the gates were attached.
        unfrozen = any(module._parameters[key].requires_grad for module, key in self._frozen)  # type: ignore[union-attr]
        if (unfrozen or active - gate.adapters - gate.beside or peft_configs(self.model) != self._configs) and (
            new := sorted(self._ungated() - self._open)
        ):
            adapter, name = new[0]
            return (
                f"the adapter {adapter!r} trains without a gate by now (on {len(new)} layers, first {name!r}). Call "
                "gates.detach() and attach_gates(model) to gate it, too."
            )
        return ""

    def _ungated(self) -> set[tuple[str, str]]:
        """The adapters that train without a gate, as pairs (adapter, layer)."""
        layers = find_adapter_layers(self.model)
        gates = {name: vars(layer).get("_coto_gate") for name, layer in layers.items()}
        return {
            (adapter, name.removeprefix(PREFIX))
            for name, adapters in adapters_to_gate(layers).items()
            for adapter in adapters - getattr(gates[name], "adapters", frozenset())
        }

    def _parameters(self) -> list[list[tuple[nn.Module, str]]]:
        """Where the parameters of the adapters of each gate are. To find them takes longer than all else that a step needs."""
        configs = peft_configs(self.model)
        if self._listed is None or self._listed[0] != configs:  # an adapter was replaced by another one of the same name
            pairs = zip(self._gates, self._groups, strict=True)
            found = [[p for layer in layers for p in adapter_parameters(layer, gate.adapters)] for gate, layers in pairs]
            self._listed = configs, found
        return self._listed[1]

    def _check_unmerged(self, to_shut: Iterable[int]) -> None:
        for index in to_shut:
            check_unmerged(self._groups[index][0], self._gates[index])
