"""The state of a training in one safetensors file: adapter, optimiser, random numbers, history. Nothing is pickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from coto_lab.ground.files import read_tensors, write_file
from coto_lab.training import optimizer_state
from coto_lab.training.history import History
from coto_lab.training.run import Run

_FORMAT = "coto_lab training 2"
_EARLIER = "coto_lab training 1"  # it holds AdamW's moments, and nothing that says what they are
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # of AdamW; the step is a scalar


def save(path: Path, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, rng: list[Tensor], first_batch: str) -> None:
    """Write the file, replacing an earlier state in one step.

    Args:
        path: the file.
        run, model, optimizer, rng: of the training.
        first_batch: the hash of the batch of step 0.

    Raises:
        FileExistsError: ``path`` is something else than a training state.
        TypeError: the optimiser keeps something that a file cannot hold (`optimizer_state.pack`).
        OSError: the disk is full or not writable; an earlier state is as it was.
    """
    from safetensors.torch import save_file

    if path.exists() and not _is_state(path):
        raise FileExistsError(
            f"checkpoint={str(path)!r} is not a readable training state of coto_lab, so it is not replaced. "
            "Choose another path, or delete it yourself."
        )
    tensors = {f"history/{name}": column for name, column in run.history.tensors().items()}
    tensors |= {f"rng/{i}": state for i, state in enumerate(rng)}
    tensors |= {f"parameter/{name}": parameter.detach().contiguous() for name, parameter in _trainable(model).items()}
    packed, own = optimizer_state.pack(optimizer, model)
    tensors |= {f"optimizer/{name}": tensor for name, tensor in own.items()}
    kept = json.dumps({"class": optimizer_state.class_of(optimizer), "state": packed})
    metadata = {"format": _FORMAT, "optimizer": kept, **_identity(run), **_origin(model, first_batch)}
    metadata |= run.history.metadata()
    write_file(path, lambda fresh: save_file(tensors, fresh, metadata=metadata))


def load(
    path: Path, run: Run, model: nn.Module, optimizer: torch.optim.Optimizer, rng: list[Tensor], first_batch: str
) -> tuple[History, list[Tensor]]:
    """Put the saved parameters and state into ``model`` and ``optimizer``; return the history and the random states.

    Everything is checked before anything is changed.

    Args:
        path: the file.
        run, rng: the training's own run so far and its random states; those of the file must be alike.
        model, optimizer: where the state goes.
        first_batch: the hash of the batch of step 0; a file of an earlier version does not have it.

    Raises:
        ValueError: the file is truncated, damaged, foreign, of another recipe, task or base than ``run``, of another
            optimiser, from another kind of device, or of a training on other data or in other dtypes.
    """
    tensors, metadata = read_tensors(path)
    if metadata.get("format") not in (_FORMAT, _EARLIER):
        raise ValueError(
            f"checkpoint={str(path)!r} is not a training state of coto_lab (format {metadata.get('format')!r}, not "
            f"{_FORMAT!r}). Give a file that Training.save or fit wrote, or a new path to start from the beginning."
        )
    identity = _identity(run)
    if missing := identity.keys() - metadata.keys():
        raise ValueError(f"checkpoint={str(path)!r} is damaged: its metadata lack {sorted(missing)}. Give another file.")
    for name, value in (identity | _origin(model, first_batch)).items():
        if metadata.get(name, value) != value:
            raise ValueError(
                f"checkpoint={str(path)!r} is of another {name}: {metadata[name]}, this training has {value}. "
                "Give the training that you want to continue, or another checkpoint file."
            )
    trainable = _trainable(model)
    parts: dict[str, dict[str, Tensor]] = {"parameter": {}, "optimizer": {}, "history": {}, "rng": {}}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = tensor
    _check(path, "model", parts["parameter"], {name: parameter.shape for name, parameter in trainable.items()})
    content = _optimizer_content(path, metadata, parts["optimizer"], model, optimizer)
    history = _history(path, parts["history"], metadata, run.history)
    states = [parts["rng"][key] for key in sorted(parts["rng"])]
    if [(state.dtype, state.shape) for state in states] != [(state.dtype, state.shape) for state in rng]:
        raise ValueError(
            f"checkpoint={str(path)!r} was saved on another kind of device: it holds random states of "
            f"{[len(state.flatten()) for state in states]} bytes, this training has {[len(state) for state in rng]}. "
            "Go on where it was saved, or start from the beginning with another checkpoint file."
        )
    optimizer_state.restore(optimizer, model, content)
    with torch.no_grad():
        for name, parameter in trainable.items():
            parameter.copy_(parts["parameter"][name])
    return history, states


def _optimizer_content(
    path: Path, metadata: dict[str, str], tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, Any]:
    """The saved state of the optimiser, if it is of an optimiser like this one and all its tensors are there."""
    own, name = optimizer_state.class_of(optimizer), "AdamW"
    groups = optimizer_state.names_in_groups(optimizer, model)
    damaged = f"checkpoint={str(path)!r} is damaged: the state of its optimizer cannot be read. Give another file."
    try:
        if metadata["format"] == _EARLIER:
            packed = _packed_moments(tensors, model, optimizer)
        else:
            kept = json.loads(metadata["optimizer"])
            name, packed = kept["class"], kept["state"]
        shapes = optimizer_state.shapes_in(packed)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(damaged) from error
    if name != own:
        raise ValueError(
            f"checkpoint={str(path)!r} is of another optimizer: {name}, this training has {own}. Give the training that you "
            "want to continue, or another checkpoint file."
        )
    _check(path, "optimizer", tensors, shapes)
    try:
        content = optimizer_state.unpack(packed, tensors)
        if [group["params"] for group in content["param_groups"]] != groups:
            raise ValueError("other parameters")
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(damaged) from error
    return content


def _packed_moments(tensors: dict[str, Tensor], model: nn.Module, optimizer: torch.optim.Optimizer) -> Any:
    """What a file of the earlier format would have said of its optimiser; groups are as they are now."""
    state = []
    for name, parameter in _trainable(model).items():
        shapes = {key: [] if key == "step" else list(parameter.shape) for key in _MOMENTS}
        if any(f"{key}/{name}" in tensors for key in _MOMENTS):  # else it was dropped in every step so far
            state.append([name, {"dict": [[key, {"tensor": shape}] for key, shape in shapes.items()]}])
    packed, _ = optimizer_state.pack(optimizer, model)
    return {"dict": [["state", {"dict": state}], *(item for item in packed["dict"] if item[0] != "state")]}


def _history(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str], own: History) -> History:
    """The saved history, if it is of the same gates and modules as ``own`` and its columns are equally long."""
    n_steps = tensors["loss"].numel() if "loss" in tensors else 0
    shapes = {name: torch.Size([n_steps, *column.shape[1:]]) for name, column in own.tensors().items()}
    _check(path, "history", tensors, shapes | {"gate_of_module": own.gate_of_module.shape})
    same_names = own.metadata().items() <= metadata.items()
    if not same_names or tensors["gate_of_module"].tolist() != own.gate_of_module.tolist():
        raise ValueError(f"checkpoint={str(path)!r} is damaged: its history is of other gates or modules. Give another file.")
    return History.from_tensors(tensors, metadata, path)


def _check(path: Path, what: str, found: dict[str, Tensor], expected: dict[str, torch.Size]) -> None:
    shapes: dict[str, list[int]] = {name: list(tensor.shape) for name, tensor in found.items()}
    wanted = {name: list(shape) for name, shape in expected.items()}
    differing = [name for name in wanted | shapes if shapes.get(name) != wanted.get(name)]
    if differing:
        first = "; ".join(
            f"{name} is {shapes.get(name, 'missing')}, not {wanted.get(name, 'expected')}" for name in differing[:2]
        )
        raise ValueError(
            f"checkpoint={str(path)!r} does not fit the {what} of this training ({len(differing)} tensors differ: {first}). "
            "Give the task and the recipe that it was saved with, or another checkpoint file."
        )


def _is_state(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") in (_FORMAT, _EARLIER)
    except (OSError, SafetensorError):
        return False


def _identity(run: Run) -> dict[str, str]:
    return {"recipe": json.dumps(run.recipe.to_json()), "task": run.task, "base": run.base}


def _origin(model: nn.Module, first_batch: str) -> dict[str, str]:
    """What a training starts from, beside what a run tells: the hash of its first batch, and the dtypes of the weights."""
    dtypes = sorted({str(parameter.dtype).removeprefix("torch.") for parameter in model.parameters()})
    return {"first batch": first_batch, "dtype": " and ".join(dtypes)}


def _trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
