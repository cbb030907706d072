"""Which transformer block each layer of a model is on.

Names say little: ``stages.1.layers.0`` is a block of ConvNeXt and ``encoder.block.1.layer.0`` is half a block of T5. So
blocks are found by structure. A block is a member of a list (``ModuleList``, ``Sequential``, ``ModuleDict``) whose members
repeat each other, it holds a normalisation layer, and it holds more than one weight matrix; where such lists are nested,
the innermost one counts. This leaves out stages (a list of blocks within a list of stages), and pairs of a convolution and
its normalisation (one matrix). Parts of a block may look like blocks as well, if they bring a normalisation of their own:
attention heads, experts, several feed-forward layers. They are known by the attention that they are in or beside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations, product, zip_longest

from torch import nn

LISTS = (nn.ModuleList, nn.Sequential, nn.ModuleDict)
_NUMBER_AT_END = re.compile(r"\d+$")
_NORMED = re.compile(r"norm|^ln|^rms", re.IGNORECASE)
_ATTENTION = re.compile(r"attention|attn", re.IGNORECASE)
_BETWEEN_TOWERS = re.compile(r"merger|projector|connector", re.IGNORECASE)  # of a vision-language model; several are no blocks


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

    The strictest notion of a block by which at least one of the layers is on one holds for all of them; and a member of a list
    whose members do not repeat each other (a list of one, for instance) is a block only where no other is.
    """
    layers = list(layers)
    structure = _Structure(model, layers)
    for notion, repeated in product(_NOTIONS, (True, False)):
        found = {layer: structure.block(layer, notion, repeated) for layer in layers}
        if any(found.values()):
            break
    # What holds a block is a stage. Its other parts are blocks where they repeat across stages, or on none (downsampling).
    stages = {ancestor for block in found.values() if block for ancestor in ancestors(block)}
    return {layer: structure.part(layer, notion, stages) if block in stages else block for layer, block in found.items()}


def ancestors(name: str) -> Iterator[str]:
    """The modules that hold a module, from the innermost one outwards."""
    while "." in name:
        name = name.rpartition(".")[0]
        yield name


def siblings(holder: nn.Module, key: str) -> list[str]:
    """The children of ``holder`` that make a list with the child ``key``: all of a list, or ``block1``, ``block2``, ..."""
    keys = list(dict(holder.named_children()))
    if isinstance(holder, LISTS):
        return keys
    stem = _NUMBER_AT_END.sub("", key)
    return [other for other in keys if stem != key and other != stem and _NUMBER_AT_END.sub("", other) == stem]


class _Structure:
    """The modules of a model, looked at without their adapters: an adapter layer counts as its base layer."""

    def __init__(self, model: nn.Module, layers: list[str]):
        self.modules: dict[str, nn.Module] = {}
        self.kinds: dict[str, type] = {}
        self.parts: dict[str, dict[str, type]] = {}  # the children that hold parameters, by what they are
        self.matrices: dict[str, int] = {}
        self.unlisted: dict[str, int] = {}  # those that are in no list within the module
        self.normed: dict[str, bool] = {}
        self.attends: dict[str, tuple[bool, bool]] = {}  # is there attention in it; is some of that in no list within it?
        self.no_split: set[str] = set()  # classes that transformers and diffusers keep on one device: mostly blocks
        self._layers = set(layers)
        self._visit(model, "")
        self._lists: dict[tuple[str, bool, str], list[str]] = {}
        self._repeats: dict[tuple[str, _Notion], bool] = {}
        members = [name for name in self.modules if self._list_of(name, numbered=True)]
        self._member_classes = Counter(self.kinds[name] for name in members)

    def _visit(self, module: nn.Module, name: str) -> None:
        is_layer = name in self._layers
        kind = type(getattr(module, "base_layer", module) if is_layer else module)
        children = {} if is_layer else {f"{name}.{key}" if name else key: child for key, child in module.named_children()}
        for path, child in children.items():
            self._visit(child, path)
        own = {} if is_layer else dict(module.named_parameters(recurse=False))
        # Of more than one row: a table that is added to every example (positions, a class token) is no weight matrix.
        is_matrix = int(is_layer or any(p.dim() > 1 and p.shape[0] > 1 for p in own.values()))
        key, unlisted = name.rpartition(".")[2], [path for path, child in children.items() if not isinstance(child, LISTS)]
        attends = any(map(_ATTENTION.search, (key, kind.__name__)))
        self.modules[name], self.kinds[name] = module, kind
        self.no_split.update(getattr(module, "_no_split_modules", None) or ())
        self.parts[name] = {path.rpartition(".")[2]: self.kinds[path] for path in children if self._has_parameters(path)}
        self.parts[name] |= dict.fromkeys(own, nn.Parameter) | ({"": kind} if is_layer else {})
        self.matrices[name] = is_matrix + sum(self.matrices[path] for path in children)
        self.unlisted[name] = is_matrix + sum(self.unlisted[path] for path in unlisted)
        self.normed[name] = any(map(_NORMED.search, (key, kind.__name__))) or any(self.normed[path] for path in children)
        self.attends[name] = (
            attends or any(self.attends[path][0] for path in children),
            attends or any(self.attends[path][1] for path in unlisted),
        )

    def _has_parameters(self, name: str) -> bool:
        """Whether a module holds any parameter."""
        return bool(self.parts[name])

    def block(self, layer: str, notion: _Notion, repeated: bool) -> str | None:
        """The block that a layer is on, by one notion of a block."""
        inside_out = [*([layer] if notion.leaves else []), *ancestors(layer)]
        fits = self._is_repeated if repeated else self._is_in_a_uniform_list
        fitting = [name for name in inside_out if self._holds(name, notion) and fits(name, notion)]
        if not notion.normed:  # experts look like blocks, then; what holds more than lists of them is a block, and no stage
            stages = {name.rpartition(".")[0] for name in fitting}
            blocks = (name for name in reversed(fitting) if self.unlisted[name] and name not in stages)
            return next(blocks, next(iter(fitting), None))
        for name, outer in zip_longest(fitting, fitting[1:]):
            if outer is None or not self._is_part(name, outer):
                return name
        return None

    def part(self, layer: str, notion: _Notion, stages: set[str]) -> str | None:
        """The block that a layer of a stage is on: a member of a list of unlike members, whose class is in other lists, too."""
        for name in ancestors(layer):
            if name in stages:
                return None
            if self._holds(name, notion) and self.kinds[name] not in LISTS:
                return name if self._member_classes[self.kinds[name]] > 1 else None
        return None

    def _is_part(self, name: str, outer: str) -> bool:
        """Whether what looks like a block is a part of the block ``outer``: a head, an expert, a feed-forward layer."""
        within = [name, *(ancestor for ancestor in ancestors(name) if ancestor.startswith(f"{outer}."))]
        in_attention = any(_ATTENTION.search(f"{n.rpartition('.')[2]} {self.kinds[n].__name__}") for n in within)
        beside_attention = self.attends[outer][1] and not self.attends[name][0]
        return in_attention or beside_attention

    def _holds(self, name: str, notion: _Notion) -> bool:
        """Whether a module is a member of a list and holds what a block holds."""
        enough = self.matrices[name] >= notion.matrices and (self.normed[name] or not notion.normed)
        between = not self.attends[name][0] and _BETWEEN_TOWERS.search(name)
        return enough and not between and bool(self._list_of(name, notion.numbered))

    def _is_in_a_uniform_list(self, name: str, notion: _Notion) -> bool:
        """Whether all members of the module's list are of one class."""
        return len({self.kinds[other] for other in self._list_of(name, notion.numbered)}) == 1

    def _is_repeated(self, name: str, notion: _Notion) -> bool:
        """Whether members of the module's list are built alike, or, where it is the only one, members of other lists are."""
        kind = self.kinds[name]
        if kind.__name__ in self.no_split:
            return True
        members = [other for other in self._list_of(name, notion.numbered) if self._holds(other, notion)]
        if len(members) == 1:
            return kind not in LISTS and self._member_classes[kind] > 1
        key = (members[0], notion)
        if key not in self._repeats:
            self._repeats[key] = any(self._are_alike(*pair) for pair in combinations(members, 2))
        return self._repeats[key]

    def _are_alike(self, one: str, other: str) -> bool:
        """Whether two modules are of one class, and the parts that both have, too: only one of them may have a shortcut."""
        ones, others = self.parts[one], self.parts[other]
        return self.kinds[one] is self.kinds[other] and all(ones[key] is others[key] for key in ones.keys() & others.keys())

    def _list_of(self, name: str, numbered: bool) -> list[str]:
        """The members, with parameters, of the list that a module is in; empty where it is in no list."""
        if not name:
            return []
        parent, _, key = name.rpartition(".")
        holder = self.modules[parent]
        is_list = isinstance(holder, LISTS)
        if not is_list and not numbered:
            return []
        place = (parent, numbered, "" if is_list else _NUMBER_AT_END.sub("", key))
        if place not in self._lists:
            paths = [f"{parent}.{other}" if parent else other for other in siblings(holder, key)]
            found = [path for path in paths if path in self.parts and self._has_parameters(path)]
            self._lists[place] = found if is_list or len(found) > 1 else []
        return self._lists[place] if is_list or name in self._lists[place] else []
