"""Under torch.compile, each gated block is compiled by itself, also when the whole model is compiled.

A graph holds for one state of every gate that it contains. A graph of the whole model holds for one mask, so each new mask
would need a new graph, and after eight graphs torch gives up and runs the model uncompiled. Inside one block there is usually
one gate, so there are four graphs at most, and all blocks of a class share them: the gate is open or shut, and a gradient is
asked for below the block or not. Where a block has several gates, each of its adapter layers is compiled by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib import import_module
from typing import Any

import torch
from torch import nn

_LIMIT = 32  # graphs of one function; torch has 8, and a gated block needs four where a block without a gate needs one


def regions(gate_of: Mapping[str, str], block_of: Mapping[str, str | None]) -> Iterable[str]:
    """The parts of a model to compile alone, so that none has two gates: a block if it has one gate, otherwise its layers.

    Args:
        gate_of: the gate of each gated layer.
        block_of: the block that each of them is in; None for a layer outside of all blocks.
    """
    gates: dict[str | None, set[str]] = {}
    for layer, gate in gate_of.items():
        gates.setdefault(block_of[layer], set()).add(gate)
    return dict.fromkeys(block if (block := block_of[layer]) and len(gates[block]) == 1 else layer for layer in gate_of)


def compile_alone(region: nn.Module) -> None:
    """From now on, a graph ends where ``region`` begins, and what is inside gets graphs of its own.

    ``torch._dynamo.config.recompile_limit``, the number of graphs that one function may have, is raised to 32 if it is lower.
    Every shape of the batch and every class of blocks multiplies the four, and so does evaluation.
    """
    config: Any = import_module("torch._dynamo.config")  # its import takes seconds, so it waits until there are gates
    config.recompile_limit = max(config.recompile_limit, _LIMIT)
    region.register_forward_pre_hook(_end_graph)


def no_longer_alone(region: nn.Module) -> None:
    """Undo `compile_alone`."""
    for key, hook in list(region._forward_pre_hooks.items()):
        if hook is _end_graph:
            del region._forward_pre_hooks[key]


def is_compiled_alone(module: nn.Module) -> bool:
    """Whether graphs end where ``module`` begins."""
    return _end_graph in module._forward_pre_hooks.values()


def _end_graph(region: nn.Module, inputs: Any) -> None:
    if not torch.compiler.is_compiling() or region._compiled_call_impl is not None:  # region.compile() is alone already
        return
    if any(hasattr(module, "_coto_gate") for module in region.modules()):  # otherwise the adapters were merged and unloaded
        torch._dynamo.graph_break(msg="coto_lab's gates have each block compiled by itself, so leave out fullgraph=True.")
