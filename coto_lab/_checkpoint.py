"""The state of a training in one safetensors file: adapter, AdamW's moments, random numbers, history. Nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

from coto_lab._files import disk_errors, write_file
from coto_lab.adapter import read_tensors
from coto_lab.history import History
from coto_lab.run import Run

_FORMAT = "coto_lab training 1"


def save(path: Path, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, rng: list[Tensor]) -> None:
    """Write the file, replacing an earlier one in one step."""
    from safetensors.torch import save_file

    tensors = {f"history/{name}": column for name, column in run.history.tensors().items()}
    tensors |= {f"rng/{i}": state for i, state in enumerate(rng)}
    for name, parameter in _trainable(model).items():
        tensors[f"parameter/{name}"] = parameter.detach().contiguous()
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer/{key}/{name}"] = value.contiguous()
    metadata = {"format": _FORMAT, **_identity(run), **run.history.metadata()}
    with disk_errors(path):
        write_file(path, lambda fresh: save_file(tensors, fresh, metadata=metadata))


def load(path: Path, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[History, list[Tensor]]:
    """Put the saved parameters and moments into ``model`` and ``optimizer``; return the history and the random states.

    Raises:
        ValueError: the file is truncated, foreign, or of another recipe, task or base than ``run``.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") != _FORMAT:
        raise ValueError(f"checkpoint={str(path)!r} is no training state of coto_lab (format {metadata.get('format')!r}).")
    for name, value in _identity(run).items():
        if metadata[name] != value:
            raise ValueError(
                f"checkpoint={str(path)!r} is of another {name}: {metadata[name]}, this training has {value}. "
                "Give the training that you want to continue, or another checkpoint file."
            )
    trainable = _trainable(model)
    expected = {f"parameter/{name}": parameter.shape for name, parameter in trainable.items()}
    found = {key: tensor.shape for key, tensor in tensors.items() if key.startswith("parameter/")}
    if found != expected:
        raise ValueError(f"checkpoint={str(path)!r} does not fit the model: {sorted(found.keys() ^ expected.keys())[:3]}.")
    history = {key.removeprefix("history/"): tensor for key, tensor in tensors.items() if key.startswith("history/")}
    columns = History.from_tensors(history, metadata, path)
    moment_names = {key.split("/")[1] for key in tensors if key.startswith("optimizer/")}
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(tensors[f"parameter/{name}"])
            moments = {key: tensors[f"optimizer/{key}/{name}"] for key in moment_names if f"optimizer/{key}/{name}" in tensors}
            optimizer.state.pop(parameter, None)
            if moments:  # an adapter that was dropped in every step so far has none
                optimizer.state[parameter] = {key: value.to(parameter.device) for key, value in moments.items()}
    return columns, [tensors[f"rng/{i}"] for i in range(sum(key.startswith("rng/") for key in tensors))]


def _identity(run: Run) -> dict[str, str]:
    return {"recipe": json.dumps(run.recipe.to_json()), "task": run.task, "base": run.base}


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
