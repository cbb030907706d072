"""Dropped adapters under DeepSpeed, which takes a gradient that is missing for one of zeros."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn

from coto_lab.adapters.layers import adapter_parameters
from coto_lab.gating.gates import Gates


def keep_dropped_still(optimizer: Any, gates: Gates) -> None:
    """Let DeepSpeed's optimiser leave dropped adapters as they are: their weights and their moments.

    ZeRO keeps the trained parameters in flat tensors, and without it the engine fills in gradients of zeros. In both cases
    weight decay and old momentum would move a dropped adapter. So the parts of the flat tensors that belong to dropped
    adapters are put back after each step. Each process does so with its own partition, and nothing is sent.

    One difference from training without ZeRO remains: a flat tensor has one step count, so Adam corrects the bias of its
    moments by the number of all steps, and not by the number of steps in which an adapter was open.

    With an optimiser that is not DeepSpeed's nothing is done, because a missing gradient is enough there. Once the gates are
    detached, nothing is kept still any more.

    Args:
        optimizer: the engine that ``deepspeed.initialize`` returned first, or what ``Accelerator.prepare`` returned.
        gates: the gates of the model.

    Raises:
        ValueError: DeepSpeed partitions the parameters themselves (ZeRO-3), or its optimiser has copies of them that cannot
            be told apart (bf16 or fp16 without ZeRO).
    """
    chain = [optimizer]
    while (inner := getattr(chain[-1], "optimizer", None)) is not None:
        chain.append(inner)
    if not any("deepspeed" in f"{type(link).__module__} {type(link).__name__}".lower() for link in chain):
        return
    if any(hasattr(parameter, "ds_id") for layer in gates.layers for parameter in layer.parameters()):
        raise ValueError(
            "ZeRO-3 splits each adapter among the processes and steps those that were dropped, by weight decay and old "
            "momentum. Set the stage of zero_optimization in DeepSpeed's configuration to 2, or use FSDP2."
        )
    stepped = {id(parameter) for group in chain[-1].param_groups for parameter in group["params"]}
    if any(id(parameter) not in stepped and not hasattr(parameter, "_hp_mapping") for parameter in _adapters(gates)):
        raise ValueError(
            "this optimiser of DeepSpeed has copies of the adapters, so dropped ones cannot be kept still (bf16 or fp16 with "
            "stage 0 does this). Set the stage of zero_optimization in DeepSpeed's configuration to 1 or 2."
        )
    kept: list[tuple[nn.Parameter, list[Tensor]]] = []

    def keep(stepping: torch.optim.Optimizer, *_: Any) -> None:
        for parameter in _dropped(gates):
            if hasattr(parameter, "_hp_mapping"):
                kept.append((parameter, [part.clone() for part in _parts(parameter, stepping)]))
            else:  # without ZeRO, the optimiser has the parameter itself
                parameter.grad = None

    @torch.no_grad()
    def put_back(stepping: torch.optim.Optimizer, *_: Any) -> None:
        for parameter, before in kept:
            for part, value in zip_longest(_parts(parameter, stepping), before):
                # In its first step the optimiser makes its moments, and weight decay may be in them.
                part.copy_(torch.zeros_like(part) if value is None else value)
        kept.clear()

    chain[-1].register_step_pre_hook(keep)
    chain[-1].register_step_post_hook(put_back)


def _adapters(gates: Gates) -> Iterator[nn.Parameter]:
    """The parameters of all gated adapters."""
    for layer in gates.layers:
        for module, key in adapter_parameters(layer, vars(layer)["_coto_gate"].adapters):
            yield module._parameters[key]  # type: ignore[misc]


def _dropped(gates: Gates) -> Iterator[nn.Parameter]:
    """The parameters that no open adapter uses."""
    shut: dict[int, nn.Parameter] = {}
    used: set[int] = set()
    for layer in gates.layers:
        gate: Any = vars(layer).get("_coto_gate")
        if gate is None:  # the gates are detached
            continue
        for module, key in adapter_parameters(layer, gate.adapters):
            parameter: Any = module._parameters[key]
            if gate.dropped or gate.closed:
                shut[id(parameter)] = parameter
            else:
                used.add(id(parameter))
    return (parameter for key, parameter in shut.items() if key not in used)


def _parts(parameter: Any, stepping: torch.optim.Optimizer) -> Iterator[Tensor]:
    """The parts of this process's flat tensors, of weights and of moments, that belong to ``parameter``."""
    fragment = parameter._hp_mapping
    if fragment is None:  # in the partition of another process
        return
    address, weights = fragment.get_hp_fragment_address(), fragment.get_hp_fragment()
    for flat in (flat for group in stepping.param_groups for flat in group["params"]):
        if flat.untyped_storage().data_ptr() != weights.untyped_storage().data_ptr():
            continue  # ZeRO steps one group of parameters after the other, and this one is of another group
        yield weights
        for state in stepping.state[flat].values():
            if torch.is_tensor(state) and state.shape == flat.shape:
                yield state.narrow(0, address.start, address.numel)
