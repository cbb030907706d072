"""What CoTo needs where several processes train one model."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any

from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from coto_lab.gating.checkpointing import checkpoints_reentrantly
from coto_lab.gating.coto import CoTo
from coto_lab.gating.schedules import Schedule

if TYPE_CHECKING:
    from transformers import TrainingArguments


def check_processes(args: TrainingArguments, model: nn.Module) -> None:
    """Raise ValueError where several processes of a Trainer cannot train ``model`` with dropped adapters."""
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    state = AcceleratorState()
    if state.distributed_type == DistributedType.DEEPSPEED:
        return  # `keep_dropped_still` looks at it
    if state.distributed_type == DistributedType.FSDP:
        if state.fsdp_plugin.fsdp_version == 1:
            raise ValueError(
                "FSDP1 keeps the parameters of a block in one flat tensor, so the adapters in it cannot be dropped. Use its "
                "successor: TrainingArguments(fsdp_config={'version': 2, ...})."
            )
        return
    if not _finds_unused_parameters(args, model):
        raise ValueError(
            "dropped adapters get no gradient, so DistributedDataParallel must look for unused parameters: set "
            f"TrainingArguments(ddp_find_unused_parameters=True); it is {args.ddp_find_unused_parameters}."
        )
    if args.ddp_static_graph:
        raise ValueError(
            "each step drops other adapters, so its graph is not static: remove ddp_static_graph=True from TrainingArguments."
        )
    if checkpoints_reentrantly(model):
        raise ValueError(_REENTRANT.format("TrainingArguments(gradient_checkpointing_kwargs={'use_reentrant': False})"))


def check_wrapped(wrapped: nn.Module) -> None:
    """Raise ValueError where ``wrapped`` is a DistributedDataParallel in which dropped adapters fail.

    It must look for unused parameters, without a static graph, and its model must not use reentrant checkpointing.
    """
    if not isinstance(wrapped, DistributedDataParallel):
        return
    if not wrapped.find_unused_parameters or wrapped.static_graph:
        raise ValueError(
            "each step drops other adapters, and they get no gradient. DistributedDataParallel has "
            f"find_unused_parameters={wrapped.find_unused_parameters} and static_graph={wrapped.static_graph}: set them to "
            "True and False, with accelerate by Accelerator(kwargs_handlers=[DistributedDataParallelKwargs("
            "find_unused_parameters=True)])."
        )
    if checkpoints_reentrantly(wrapped.module):
        raise ValueError(_REENTRANT.format("model.gradient_checkpointing_enable({'use_reentrant': False})"))


def check_agreement(coto: CoTo, **settings: Any) -> None:
    """Raise ValueError, on every process, where the processes of a training would not draw the same gates.

    Each process draws its own gates from the same numbers. Where they differ, DistributedDataParallel averages gradients of
    different adapters, and FSDP2 waits for ever. All processes must call this function, once, before the first step.

    Args:
        coto: what draws the gates of this process.
        settings: anything else that must be the same, by its name.
    """
    gates = coto.gates
    check_same(
        seed=coto.seed,
        total_steps=coto.total_steps,
        tilt=coto.tilt,
        schedule=described(coto.schedule),
        gates=f"{len(gates)}, {gates.names[0]!r} to {gates.names[-1]!r} ({_digest(gates.names)})",
        adapter_layers=f"{len(gates.modules)} ({_digest([gates.modules, gates.gate_of_module.tolist()])})",
        **settings,
    )


def described(schedule: Schedule) -> str:
    """A schedule, which may be any function, in words that are the same for equal values."""
    curve = [schedule(i / 100) for i in range(101)]
    return f"p(t) from {curve[0]:.3g} to {curve[-1]:.3g} ({_digest(curve)})"


def check_same(**settings: Any) -> None:
    """Raise ValueError, on every process, where a setting of another process is not the same; all must call this function.

    A process alone has nothing to compare.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return
    found: list[dict[str, Any]] = [{}] * distributed.get_world_size()
    distributed.all_gather_object(found, settings)
    for rank, theirs in enumerate(found):
        for name, value in theirs.items():
            if value != found[0].get(name):
                raise ValueError(
                    f"the processes do not agree: {name} is {found[0].get(name)} on process 0 and {value} on process {rank}. "
                    "Start all processes with the same arguments."
                )


_REENTRANT = (
    "DistributedDataParallel that looks for unused parameters, as dropped adapters need it, fails with reentrant gradient "
    "checkpointing. Use the other kind: {}."
)


def _digest(value: object) -> str:
    return sha256(repr(value).encode()).hexdigest()[:8]


def _finds_unused_parameters(args: TrainingArguments, model: nn.Module) -> bool:
    from transformers import PreTrainedModel

    if args.ddp_find_unused_parameters is not None:
        return bool(args.ddp_find_unused_parameters)
    # With None, Trainer looks for them, except for a transformers model (`model.add_adapter`) with checkpointing.
    checkpoints = args.gradient_checkpointing or any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
    return not (isinstance(model, PreTrainedModel) and checkpoints)
