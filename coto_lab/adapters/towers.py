"""The parts of a model that a batch can reach alone: text and vision model of CLIP, encoder and decoder, ..."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn

from coto_lab.adapters.blocks import LISTS, siblings
from coto_lab.adapters.names import PREFIX


def towers_of(model: nn.Module, blocks: Iterable[str]) -> dict[str, int]:
    """The tower of each of ``blocks`` (names of modules of ``model``), numbered from 0.

    Nobody knows beforehand what a batch will reach, so all that a batch might leave out counts as a tower: the submodules in
    which the paths to the blocks part, and part again; the members of a ``ModuleDict``; and the cross-attention blocks of a
    list, which batches without images skip. The members of a list follow one another, as attributes ``layer1``, ``layer2`` do,
    so they are one tower (but nobody holds a list that is the whole model).

    The only block of a tower is never dropped. So a lone block beside a list, as in the middle of a UNet, joins its neighbours.
    """
    towers = _towers(model, list(blocks))
    return {block: number for number, members in enumerate(towers) for block in members}


def _towers(model: nn.Module, blocks: list[str]) -> list[list[str]]:
    paths = [block.split(".") for block in blocks]
    fork = 0
    while len(blocks) > 1 and len({tuple(path[: fork + 1]) for path in paths}) == 1:
        fork += 1
    if len(blocks) < 2 or min(map(len, paths)) == fork + 1:  # the members of a list are the blocks themselves
        return _joined(_grouped(blocks, lambda block: "crossattention" in type(model.get_submodule(block)).__name__.lower()))
    place = ".".join(paths[0][:fork])
    holder = model.get_submodule(place)
    is_whole = f"{place}." in (".", PREFIX)
    if isinstance(holder, nn.Sequential) or (isinstance(holder, nn.ModuleList) and not is_whole):
        return [blocks]
    in_order = not isinstance(holder, LISTS)

    def head(block: str) -> object:
        key = block.split(".")[fork]
        return (tuple(siblings(holder, key)) if in_order else ()) or key

    heads = _grouped(blocks, head)
    if len(heads) == 1:
        return [blocks]
    found = [tower for members in heads for tower in _towers(model, members)]
    beside_a_list = in_order and any(isinstance(model.get_submodule(".".join(path[: fork + 1])), LISTS) for path in paths)
    return _joined(found) if beside_a_list else found


def _grouped(blocks: list[str], key: Callable[[str], object]) -> list[list[str]]:
    groups: dict[object, list[str]] = {}
    for block in blocks:
        groups.setdefault(key(block), []).append(block)
    return list(groups.values())


def _joined(towers: list[list[str]]) -> list[list[str]]:
    """The towers, where a lone block has joined those before it, or after it if it is the first."""
    joined: list[list[str]] = []
    for tower in towers:
        if joined and 1 in (len(tower), len(joined[-1])):
            joined[-1] = joined[-1] + tower
        else:
            joined.append(tower)
    return joined
