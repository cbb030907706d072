"""Which adapter layers share a gate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

from coto_lab.adapters.blocks import ancestors, blocks_of
from coto_lab.adapters.names import PREFIX
from coto_lab.adapters.towers import towers_of
from coto_lab.gating.checks import storage

By = Literal["block", "module"] | type[nn.Module] | tuple[type[nn.Module], ...] | Callable[[str], str | None]


@dataclass(frozen=True)
class Group:
    """The layers that share a gate.

    Attributes:
        gate: the gate's name.
        layers: names of its layers.
        block: the block that the gate is on. A gate on no block, and a gate that ``by`` decided, has its own name here.
        tower: number of the tower that the gate is in; -1 if the model has several towers and the gate is in none of them.
    """

    gate: str
    layers: tuple[str, ...]
    block: str
    tower: int


def group_layers(model: nn.Module, layers: dict[str, nn.Module], by: By = "block") -> list[Group]:
    """The groups, in the model's order; a layer that is in no group stays without a gate.

    Args:
        model: the model.
        layers: adapter layers by their name in ``model``.
        by: see `coto_lab.gating.gates.attach_gates`.

    Raises:
        ValueError: ``by`` is unknown, or no layer is in a group.
    """
    blocks = blocks_of(model, layers)
    if by == "block":
        gates = blocks
    elif by == "module":
        gates = dict(_join_tied(layers))
    elif isinstance(by, type) or (isinstance(by, tuple) and by and all(isinstance(kind, type) for kind in by)):
        gates = {layer: next((a for a in ancestors(layer) if isinstance(model.get_submodule(a), by)), None) for layer in layers}
    elif callable(by):
        gates = {layer: _named(by, layer.removeprefix(PREFIX)) for layer in layers}
    else:
        raise ValueError(
            f"by={by!r} is not known; use 'block' (one gate per transformer block), 'module', a module class or a tuple of "
            "those, or a function from a layer's name to the name of its gate."
        )
    groups: dict[str, list[str]] = {}
    for layer, gate in gates.items():
        if gate is not None:
            groups.setdefault(gate, []).append(layer)
    if not groups:
        names = ", ".join(layer.removeprefix(PREFIX) for layer in list(layers)[:8]) + (", ..." if len(layers) > 8 else "")
        raise ValueError(
            f"none of the {len(layers)} adapter layers gets a gate with by={by!r}: {names}. Give every layer its own gate with "
            "by='module', or pass a module class or a function from a layer's name to the name of its gate."
        )
    towers = towers_of(model, dict.fromkeys(block for block in blocks.values() if block))
    several = len(set(towers.values())) > 1
    return [
        Group(
            gate,
            tuple(members),
            (blocks[members[0]] if by in ("block", "module") else None) or gate,
            towers.get(blocks[members[0]] or "", -1) if several else 0,
        )
        for gate, members in groups.items()
    ]


def _named(by: Callable[[str], str | None], layer: str) -> str | None:
    gate = by(layer)
    if gate is not None and not (isinstance(gate, str) and gate):
        raise ValueError(
            f"by({layer!r}) returned {gate!r}; it must return the name of a gate, or None for a layer that stays open."
        )
    return gate


def _join_tied(layers: dict[str, nn.Module]) -> dict[str, str]:
    # An embedding and a head with tied base weights and tied adapters are one adapter: if only one of the two were closed, its
    # parameters would still be trained through the other. So both share one gate, named after the first.
    gates: dict[str, str] = {}
    owner: dict[int, str] = {}
    for name, layer in layers.items():
        tied_base = [storage(p) for p in layer.base_layer.parameters()]  # type: ignore[union-attr]
        adapter = [storage(p) for p in layer.parameters() if p.requires_grad]
        shares_both = any(i in owner for i in tied_base) and any(i in owner for i in adapter)
        gates[name] = next((owner[i] for i in adapter if i in owner), name) if shares_both else name
        for i in (*tied_base, *adapter):
            owner.setdefault(i, gates[name])
    return gates
