"""What CoTo needs where several processes train one model."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from coto_lab.gating.checkpointing import checkpoints_reentrantly
from coto_lab.gating.coto import CoTo
from coto_lab.gating.schedules import Schedule

if TYPE_CHECKING:
    from transformers import TrainingArguments

LIMIT = timedelta(minutes=5)  # how long a process waits for the others; by then they have loaded the same model and data
_calls = 0  # the comparisons in which all came; so each has keys of its own


def check_processes(args: TrainingArguments, model: nn.Module) -> None:
    """Raise ValueError where several processes or GPUs of a Trainer cannot train ``model`` with dropped adapters."""
    if args.n_gpu > 1 and not getattr(model, "is_loaded_in_8bit", False):  # then the Trainer wraps it so
        raise ValueError(
            f"this process has {args.n_gpu} GPUs, so the Trainer uses nn.DataParallel, in which dropped adapters get gradients "
            "of zero instead of none: weight decay and momentum would move them. Start one process for each GPU, with "
            "`accelerate launch` or `torchrun`, or show it one GPU: CUDA_VISIBLE_DEVICES=0."
        )
    if args.world_size == 1:
        return
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
        gates=f"{len(gates)}, {gates.names[0]!r} to {gates.names[-1]!r} ({digest(gates.names)})",
        adapter_layers=f"{len(gates.modules)} ({digest([gates.modules, gates.gate_of_module.tolist()])})",
        **settings,
    )


def described(schedule: Schedule) -> str:
    """A schedule, which may be any function, in words that are the same for equal values."""
    curve = [schedule(i / 100) for i in range(101)]
    return f"p(t) from {curve[0]:.3g} to {curve[-1]:.3g} ({digest(curve)})"


def check_same(**settings: Any) -> None:
    """Raise ValueError, on every process, where a setting of another process is not the same.

    All processes must call this function; a process alone has nothing to compare. ValueError names those that did not come
    within `LIMIT`.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return
    found = _gathered({name: str(value) for name, value in settings.items()})
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


def _gathered(settings: dict[str, str]) -> list[dict[str, str]]:
    """The settings of each process.

    They go through the store that the processes met in, and not through a collective: where one process does not come, a
    collective would wait until the time limit of the group, or take the next collective of that process for its answer.
    """
    global _calls
    store, rank = distributed.distributed_c10d._get_default_store(), distributed.get_rank()
    keys = [f"coto_lab/{_calls}/{other}" for other in range(distributed.get_world_size())]
    store.set(keys[rank], json.dumps(settings))
    try:
        store.wait(keys, LIMIT)
        found = [json.loads(store.get(key)) for key in keys]
    except RuntimeError as error:  # of a file store, too
        absent = [0]  # who may hold the store, which then ended with it
        with suppress(RuntimeError):
            absent = [other for other, key in enumerate(keys) if not store.check([key])]
            store.delete_key(keys[rank])  # those who come later are not to find it
        raise ValueError(
            f"process {', '.join(map(str, absent))} has not come within {LIMIT.seconds} s to where the processes compare their "
            "settings. Start all processes with the same script and arguments, each with the callback."
        ) from error
    _calls += 1
    store.set(f"{keys[rank]}/read", "")
    if rank == 0:  # it may hold the store, which ends with it
        with suppress(RuntimeError):
            store.wait([f"{key}/read" for key in keys], LIMIT)
    return found


def digest(value: object) -> str:
    """Eight hexadecimal digits that tell values apart by what they print."""
    return sha256(repr(value).encode()).hexdigest()[:8]


def _finds_unused_parameters(args: TrainingArguments, model: nn.Module) -> bool:
    from transformers import PreTrainedModel

    if args.ddp_find_unused_parameters is not None:
        return bool(args.ddp_find_unused_parameters)
    # With None, Trainer looks for them, except for a transformers model (`model.add_adapter`) with checkpointing.
    checkpoints = args.gradient_checkpointing or any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
    return not (isinstance(model, PreTrainedModel) and checkpoints)
