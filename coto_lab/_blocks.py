"""Which transformer block each layer of a model is on, and which parts of the model a batch can reach alone.

Names say little: ``stages.1.layers.0`` is a block of ConvNeXt and ``encoder.block.1.layer.0`` is half a block of T5. So
blocks are found by structure. A block is a member of a list (``ModuleList``, ``Sequential``, ``ModuleDict``) whose members
repeat each other, it holds a normalisation layer, and it holds more than one weight matrix; where such lists are nested,
the innermost one counts. This leaves out stages (a list of blocks within a list of stages), experts and attention heads
(no normalisation of their own), and pairs of a convolution and its normalisation (one matrix).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torch import nn

from coto_lab._adapter_layers import PREFIX

_LISTS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
_NUMBER_AT_END = re.compile(r"\d+$")


@dataclass(frozen=True)
class _Notion:
    """What counts as a block. Models differ, so `blocks_of` goes from the strictest notion to the loosest."""

    normed: bool  # a normalisation layer inside
    matrices: int  # weight matrices inside, at least
    numbered: bool = False  # attributes such as `block1`, `block2` count as members of a list, too
    leaves: bool = False  # an adapter layer itself may be a block: a plain stack of linear layers


_NOTIONS = (
    _Notion(normed=True, matrices=2),
    _Notion(normed=True, matrices=2, numbered=True),
    _Notion(normed=False, matrices=2),
    _Notion(normed=False, matrices=2, numbered=True),
    _Notion(normed=False, matrices=1),
    _Notion(normed=False, matrices=1, leaves=True),
)


def blocks_of(model: nn.Module, layers: Iterable[str]) -> dict[str, str | None]:
    """The name of the block that each of ``layers`` (names of modules of ``model``) is on; None for those on no block.

    The strictest notion of a block by which at least one of the layers is on one holds for all of them.
    """
    layers = list(layers)
    structure = _Structure(model, layers)
    for notion in _NOTIONS:
        found = {layer: structure.block(layer, notion) for layer in layers}
        if any(found.values()):
            break
    # What holds a block is a stage. Its other parts are blocks where they repeat across stages, or on none (downsampling).
    stages = {ancestor for block in found.values() if block for ancestor in ancestors(block)}
    return {layer: structure.part(layer, notion, stages) if block in stages else block for layer, block in found.items()}


def towers_of(model: nn.Module, blocks: Iterable[str]) -> dict[str, int]:
    """The tower of each of ``blocks``: parts of a model that a batch can reach alone (CLIP's text and vision models).

    Towers are the submodules in which the paths to the blocks part for the first time. Where they part in a list of blocks
    or of stages, the module that holds the list runs all of it, so there is one tower. (None holds a list that is the whole
    model.)
    """
    paths = {block: block.split(".") for block in blocks}
    columns = [set(column) for column in zip(*paths.values(), strict=False)]
    fork = next((depth for depth, names in enumerate(columns) if len(names) > 1), None)
    if fork is None:
        return dict.fromkeys(paths, 0)
    heads = list(dict.fromkeys(".".join(path[: fork + 1]) for path in paths.values()))
    place = heads[0].rpartition(".")[0]
    holder = model.get_submodule(place)
    in_a_list = isinstance(holder, _LISTS) and (isinstance(holder, nn.Sequential) or f"{place}." not in (".", PREFIX))
    if in_a_list or any(head in paths or isinstance(model.get_submodule(head), _LISTS) for head in heads):
        return dict.fromkeys(paths, 0)
    return {block: heads.index(".".join(path[: fork + 1])) for block, path in paths.items()}


class _Structure:
    """The modules of a model, looked at without their adapters: an adapter layer counts as its base layer."""

    def __init__(self, model: nn.Module, layers: list[str]):
        self.modules: dict[str, nn.Module] = {}
        self.signatures: dict[str, int] = {}  # equal for modules that are built alike, whatever their sizes
        self.matrices: dict[str, int] = {}
        self.unlisted: dict[str, int] = {}  # those that are in no list within the module
        self.normed: dict[str, bool] = {}
        self.bearing: dict[str, bool] = {}  # does it hold any parameter?
        self.no_split: set[str] = set()  # classes that transformers and diffusers keep on one device: mostly blocks
        self._layers = set(layers)
        self._visit(model, "")
        members = [name for name in self.modules if self._list_of(name, numbered=True)]
        self._member_classes = Counter(type(self.modules[name]) for name in members)

    def _visit(self, module: nn.Module, name: str) -> None:
        is_layer = name in self._layers
        kind = type(getattr(module, "base_layer", module) if is_layer else module)
        children = {} if is_layer else {f"{name}.{key}" if name else key: child for key, child in module.named_children()}
        for path, child in children.items():
            self._visit(child, path)
        own = {} if is_layer else dict(module.named_parameters(recurse=False))
        # Of more than one row: a table that is added to every example (positions, a class token) is no weight matrix.
        is_matrix = int(is_layer or any(p.dim() > 1 and p.shape[0] > 1 for p in own.values()))
        self.modules[name] = module
        self.no_split.update(getattr(module, "_no_split_modules", None) or ())
        keys = [(path.rpartition(".")[2], self.signatures[path]) for path in children]
        self.signatures[name] = hash((kind, *keys, *own))
        self.matrices[name] = is_matrix + sum(self.matrices[path] for path in children)
        lists = [path for path, child in children.items() if isinstance(child, _LISTS)]
        self.unlisted[name] = is_matrix + sum(self.unlisted[path] for path in children if path not in lists)
        self.normed[name] = "norm" in kind.__name__.lower() or any(self.normed[path] for path in children)
        self.bearing[name] = is_layer or bool(own) or any(self.bearing[path] for path in children)

    def block(self, layer: str, notion: _Notion) -> str | None:
        """The block that a layer is on, by one notion of a block."""
        inside_out = [*([layer] if notion.leaves else []), *ancestors(layer)]
        fitting = [name for name in inside_out if self._fits(name, notion)]
        candidates = [name for name in fitting if self._is_repeated(name, notion)] or fitting
        if not notion.normed:  # experts look like blocks, then; what holds more than lists is a block, and no stage
            candidates = [name for name in reversed(candidates) if self.unlisted[name]] or candidates
        return next(iter(candidates), None)

    def part(self, layer: str, notion: _Notion, stages: set[str]) -> str | None:
        """The block that a layer of a stage is on: a member of a list of unlike members, whose class is in other lists, too."""
        for name in ancestors(layer):
            if name in stages:
                return None
            kind = type(self.modules[name])
            if self._holds(name, notion) and self._list_of(name, notion.numbered) and kind not in _LISTS:
                return name if self._member_classes[kind] > 1 else None
        return None

    def _holds(self, name: str, notion: _Notion) -> bool:
        """Whether a module holds what a block holds."""
        return self.matrices[name] >= notion.matrices and (self.normed[name] or not notion.normed)

    def _fits(self, name: str, notion: _Notion) -> bool:
        """Whether a module may be a block: a member of a list of its like."""
        members = self._list_of(name, notion.numbered)
        if not members or not self._holds(name, notion):
            return False
        return len({type(self.modules[other]) for other in members}) == 1 or self._is_repeated(name, notion)

    def _is_repeated(self, name: str, notion: _Notion) -> bool:
        """Whether members of the module's list are built alike, or, where it is the only one, members of other lists are."""
        kind = type(self.modules[name])
        if kind.__name__ in self.no_split:
            return True
        members = [other for other in self._list_of(name, notion.numbered) if self._holds(other, notion)]
        if len(members) == 1:
            return kind not in _LISTS and self._member_classes[kind] > 1
        return max(Counter(self.signatures[other] for other in members).values()) > 1

    def _list_of(self, name: str, numbered: bool) -> list[str]:
        """The members, with parameters, of the list that a module is in; empty where it is in no list."""
        if not name:
            return []
        parent, _, key = name.rpartition(".")
        holder = self.modules[parent]
        keys = list(dict(holder.named_children()))
        if not isinstance(holder, _LISTS):
            stem = _NUMBER_AT_END.sub("", key)
            keys = [other for other in keys if _NUMBER_AT_END.search(other) and _NUMBER_AT_END.sub("", other) == stem]
            if not numbered or key not in keys or len(keys) < 2:
                return []
        return [path for path in (f"{parent}.{other}" if parent else other for other in keys) if self.bearing.get(path)]


def ancestors(name: str) -> Iterator[str]:
    """The modules that hold a module, from the innermost one outwards."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name
