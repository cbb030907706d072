"""What CoTo needs where several processes train one model."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel, TrainingArguments

from coto_lab.gating.checkpointing import checkpoints_reentrantly


def check_processes(args: TrainingArguments, model: nn.Module) -> None:
    """Raise ValueError where several processes of a Trainer cannot train ``model`` with dropped adapters."""
    if not _finds_unused_parameters(args, model):
        raise ValueError(
            "dropped adapters get no gradient, so DistributedDataParallel must look for unused parameters: set "
            f"TrainingArguments(ddp_find_unused_parameters=True); it is {args.ddp_find_unused_parameters}."
        )
    if checkpoints_reentrantly(model):
        raise ValueError(
            "DistributedDataParallel that looks for unused parameters, as dropped adapters need it, fails with reentrant "
            "gradient checkpointing. Use the other kind: "
            "TrainingArguments(gradient_checkpointing_kwargs={'use_reentrant': False})."
        )


def _finds_unused_parameters(args: TrainingArguments, model: nn.Module) -> bool:
    if args.ddp_find_unused_parameters is not None:
        return bool(args.ddp_find_unused_parameters)
    # With None, Trainer looks for them, except for a transformers model (`model.add_adapter`) with checkpointing.
    checkpoints = args.gradient_checkpointing or any(getattr(m, "gradient_checkpointing", False) for m in model.modules())
    return not (isinstance(model, PreTrainedModel) and checkpoints)
