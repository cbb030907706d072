"""The state of any torch optimiser as named tensors and JSON, so that a file can hold it without pickling.

In the JSON, numbers, texts and None stand for themselves. A list, a tuple, a dict or a tensor is an object with one key, which
says what it is; of a tensor it tells the shape. The tensors themselves are kept apart, by names.
"""

from __future__ import annotations

from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

_Keys = tuple[Any, ...]  # the way from the whole to a part of it


def class_of(optimizer: torch.optim.Optimizer) -> str:
    """The name of its class; that of the optimiser within it, where accelerate has wrapped one."""
    return type(getattr(optimizer, "optimizer", optimizer)).__name__


def names_in_groups(optimizer: torch.optim.Optimizer, model: nn.Module) -> list[list[str]]:
    """The model's names of the parameters in each of the optimiser's groups."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [[names[id(parameter)] for parameter in group["params"]] for group in optimizer.param_groups]


def pack(optimizer: torch.optim.Optimizer, model: nn.Module) -> tuple[Any, dict[str, Tensor]]:
    """What ``optimizer.state_dict()`` holds, as JSON values and tensors by name; parameters go by the model's names.

    Raises:
        TypeError: the optimiser keeps something else than tensors, numbers, texts, lists and dicts.
    """
    names = list(chain.from_iterable(names_in_groups(optimizer, model)))  # in the order in which a state_dict numbers them
    content = optimizer.state_dict()
    state = {names[i] if isinstance(i, int) else i: value for i, value in content["state"].items()}
    groups = [group | {"params": [names[i] for i in group["params"]]} for group in content["param_groups"]]
    tensors: dict[str, Tensor] = {}
    return _pack(content | {"state": state, "param_groups": groups}, (), tensors, class_of(optimizer)), tensors


def unpack(packed: Any, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """The content that `pack` took apart.

    Raises:
        ValueError, TypeError, KeyError: ``packed`` was not made by `pack`, or a tensor is missing.
    """
    return _unpack(packed, (), tensors)


def shapes_in(packed: Any) -> dict[str, torch.Size]:
    """Names and shapes of the tensors that belong to ``packed``."""
    shapes: dict[str, torch.Size] = {}
    _unpack(packed, (), None, shapes)
    return shapes


def restore(optimizer: torch.optim.Optimizer, model: nn.Module, content: dict[str, Any]) -> None:
    """Give ``optimizer`` the state that `unpack` returned, to the bit.

    ``load_state_dict`` does what an optimiser has to do of its own, but it also casts each tensor to the type of its parameter,
    so the state of every parameter is put in once more as it was saved, on the device where it was loaded.
    """
    places = {name: i for i, name in enumerate(chain.from_iterable(names_in_groups(optimizer, model)))}
    state = {places.get(name, name): value for name, value in content["state"].items()}
    groups = [
        {key: value for key, value in own.items() if key != "params"}  # a file of an earlier version lacks some entries
        | saved
        | {"params": [places[name] for name in saved["params"]]}
        for own, saved in zip(optimizer.param_groups, content["param_groups"], strict=True)
    ]
    optimizer.load_state_dict(content | {"state": state, "param_groups": groups})
    parameters = dict(model.named_parameters())
    for name, value in content["state"].items():
        if name in parameters:
            optimizer.state[parameters[name]] = _placed(value, optimizer.state[parameters[name]])


def _name(keys: _Keys) -> str:
    """The name of a tensor: for the state of a parameter its keys and then the parameter, as in ``exp_avg/<parameter>``."""
    in_order = (*keys[2:], keys[1]) if keys[0] == "state" else keys
    return "/".join(map(str, in_order))


def _pack(value: Any, keys: _Keys, tensors: dict[str, Tensor], optimizer: str) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if type(value) in (Tensor, nn.Parameter):
        tensors[_name(keys)] = value.detach().clone(memory_format=torch.contiguous_format)  # a file holds no views
        return {"tensor": list(value.shape)}
    if isinstance(value, dict) and all(isinstance(key, (int, str)) for key in value):
        return {"dict": [[key, _pack(item, (*keys, key), tensors, optimizer)] for key, item in value.items()]}
    if type(value) in (list, tuple):
        return {type(value).__name__: [_pack(item, (*keys, i), tensors, optimizer) for i, item in enumerate(value)]}
    raise TypeError(
        f"the optimiser {optimizer} keeps a {type(value).__name__} in {_name(keys)!r}, which a checkpoint cannot hold: it "
        "holds tensors, numbers, texts, lists and dicts. Train without checkpoint=, or take another optimiser."
    )


def _unpack(packed: Any, keys: _Keys, tensors: dict[str, Tensor] | None, shapes: dict[str, torch.Size] | None = None) -> Any:
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "tensor":
        if shapes is not None:
            shapes[_name(keys)] = torch.Size(content)
        return None if tensors is None else tensors[_name(keys)]
    if kind == "dict":
        return {key: _unpack(item, (*keys, key), tensors, shapes) for key, item in content}
    return {"list": list, "tuple": tuple}[kind](_unpack(item, (*keys, i), tensors, shapes) for i, item in enumerate(content))


def _placed(saved: Any, loaded: Any) -> Any:
    """``saved``, with each tensor on the device of its like in ``loaded``."""
    if isinstance(saved, Tensor):
        return saved.to(loaded.device)
    if isinstance(saved, dict):
        return {key: _placed(item, loaded[key]) for key, item in saved.items()}
    if isinstance(saved, (list, tuple)):
        return type(saved)(map(_placed, saved, loaded))
    return saved
