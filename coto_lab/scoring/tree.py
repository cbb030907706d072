"""Scoring many plain LoRA variants together: rows of one batch, and one computation for what they have in common.

Two variants that agree up to block i have the same hidden state before block i + 1. So the variants are the leaves of a
tree whose level i is their state after block i; it is walked depth first, each node is computed once, and only the
nodes on the way to the current one are kept. For all 2^n coalitions of n blocks that is about two blocks per coalition
instead of n. Nodes that are due at the same level go through the block together, as rows.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.stack import AdapterStack
from coto_lab.scoring.block_chain import BlockChain, NotAChain
from coto_lab.scoring.sheet import Sheet
from coto_lab.scoring.sites import module_mask
from coto_lab.tasks.check import measured
from coto_lab.tasks.task import Batch, Task, repeated, to_device

_AUTOMATIC = {"cpu": 2**26}  # bytes; on a CPU, what its caches still help with
_ON_ACCELERATOR = 2**32


class TreeScorer:
    """A base model that scores variants of plain LoRA adapters on it.

    Args:
        task: what to score on.
        rows: the task's base model, ready for several adapters.
        batch_size: examples of a variant in a forward pass.
        memory: bytes that activations may take; None chooses.

    Raises:
        ValueError: ``memory`` is too small for one variant.
        NotAChain: the model's blocks cannot be run one by one.
    """

    def __init__(self, task: Task, rows: AdapterStack, *, batch_size: int, memory: int | None):
        self.task, self.rows, self.batch_size = task, rows, batch_size
        self.device = rows.layers[0].lora_A.device
        stack = _stack_of_blocks(rows)
        self._chain = BlockChain(rows.model.get_submodule(stack))  # type: ignore[arg-type]
        depth = {f"{stack}.{i}": i for i in range(len(self._chain.blocks))}
        self._modules_of: list[list[int]] = [[] for _ in depth]
        for module, block in enumerate(rows.blocks):
            self._modules_of[depth[block]].append(module)
        if (config := getattr(rows.model, "config", None)) is not None:
            config.use_cache = False  # the keys and values of a block computed again would be added to those of before
        batch = self._batch("test", range(min(4, task.size("test"))))
        if not rows.stay_apart(batch, partial(task.predict, rows.model), self._block_by_block):
            raise NotAChain("in rows and block by block, the model computes something else.")
        self._bytes = memory
        self._rows_for: dict[tuple[torch.Size, ...], int] = {}  # by the shape of an example
        self.max_rows = self._rows_at_once(self._batch("test", range(min(batch_size, task.size("test")))))

    @torch.no_grad()
    def score(self, adapters: Sequence[Adapter], masks: Sequence[Bool[Tensor, " _"] | None], split: str, sheet: Sheet) -> None:
        """Write what each adapter, with the gates of its mask open, makes of the split.

        Raises:
            ValueError: a mask or an adapter does not fit the model.
        """
        distinct = list({id(adapter): adapter for adapter in adapters}.values())
        position = {id(adapter): i for i, adapter in enumerate(distinct)}
        self._adapter_of = torch.tensor([position[id(adapter)] for adapter in adapters])
        self._masks = torch.stack([module_mask(self.rows, mask) for mask in masks])  # [V, n_modules]
        self._factors = self.rows.stack(distinct)
        self._states = [[self._state(variant, modules) for modules in self._modules_of] for variant in range(len(adapters))]
        for start in range(0, sheet.examples, self.batch_size):
            batch = self._batch(split, sheet.places[start : start + self.batch_size])
            self.max_rows = self._rows_at_once(batch)
            # Leaves are written as soon as they are known: their predictions together may not fit into memory.
            write = partial(sheet.write, start=start)
            self._descend(0, self._enter(batch, 1), [list(range(len(adapters)))], batch, write)
        del self._factors

    def _descend(self, level: int, hidden: Tensor, members: list[list[int]], batch: Batch, write: Callable[..., None]) -> None:
        """Score the variants ``members[r]``, whose state before block ``level`` is row r of ``hidden`` ``[R, n, ...]``."""
        if level == len(self._chain.blocks):
            copies = repeated(batch, len(hidden))
            write(members, prediction=self._leave(copies, hidden), batch=copies)
            return
        children: dict[tuple[int, tuple[object, ...]], list[int]] = {}
        for row, variants in enumerate(members):
            for variant in variants:
                children.setdefault((row, self._states[variant][level]), []).append(variant)
        nodes = list(children.items())
        for start in range(0, len(nodes), self.max_rows):
            parents = [row for (row, _), _ in nodes[start : start + self.max_rows]]
            below = [variants for _, variants in nodes[start : start + self.max_rows]]
            same = parents == list(range(len(hidden)))
            # No name for what the block is given or gives: on the way down only the nodes themselves are kept.
            self._descend(
                level + 1,
                self._block(level, hidden if same else hidden[parents], [variants[0] for variants in below], batch),
                below,
                batch,
                write,
            )

    def _state(self, variant: int, modules: list[int]) -> tuple[object, ...]:
        """What decides a variant's computation in the block of these modules: which are open, and whose they are."""
        is_open = tuple(self._masks[variant, modules].tolist())
        return (is_open, self._adapter_of[variant].item() if any(is_open) else None)

    def _block(self, level: int, hidden: Tensor, variants: list[int], batch: Batch) -> Tensor:
        owners = self._adapter_of[variants]
        for module in self._modules_of[level]:
            (a, b), layer = self._factors[module], self.rows.layers[module]
            layer.lora_A.data, layer.lora_B.data = a[owners], b[owners]
            layer.gate = self._masks[variants, module]
        if len(variants) != self._entered:
            self._enter(batch, len(variants))
        return self._chain.block(level, hidden.flatten(0, 1)).view_as(hidden)

    def _batch(self, split: str, places: Sequence[int]) -> Batch:
        return to_device(self.task.batch(split, places), self.device)

    def _enter(self, batch: Batch, rows: int) -> Tensor:
        """The hidden state of ``rows`` copies of a batch before the first block: ``[rows, n, ...]``."""
        copies = repeated(batch, rows)
        self._entered = rows
        return self._chain.enter(lambda: self.task.predict(self.rows.model, copies)).unflatten(0, (rows, -1))

    def _leave(self, copies: Batch, hidden: Tensor) -> Tensor:
        """The predictions ``[R·n, ...]`` of hidden states ``[R, n, ...]`` after the last block."""
        return self._chain.leave(lambda: self.task.predict(self.rows.model, copies), hidden.flatten(0, 1))

    def _block_by_block(self, batch: Batch) -> Tensor:
        """The prediction, by one way through the tree that holds and repeats all that a way may hold and repeat."""

        def run() -> Tensor:
            return self.task.predict(self.rows.model, batch)

        states = [self._chain.enter(run)]
        for index in range(len(self._chain.blocks)):
            self._chain.enter(run)
            self._chain.block(index, -states[-1])  # a block must not remember one state when it is given another (a cache),
            self._chain.block(index, states[-1])  # and not change what it is given
            states.append(self._chain.block(index, states[-1].clone()))
        return self._chain.leave(run, states[-1])

    def _rows_at_once(self, batch: Batch) -> int:
        """How many rows of a batch like this may go through a block together; longer texts allow fewer.

        Raises:
            ValueError: the memory does not suffice for one.
        """
        shapes = tuple(column.shape[1:] for column in batch.values())
        if shapes not in self._rows_for:
            one_row = self.batch_size * self._measure({name: column[:1] for name, column in batch.items()})
            if self._bytes is not None and self._bytes < one_row:
                raise ValueError(
                    f"memory={self._bytes}: too small for one variant, which takes about {one_row} bytes at "
                    f"batch_size={self.batch_size}; give that much, or lower batch_size."
                )
            available = self._bytes or _AUTOMATIC.get(self.device.type, _ON_ACCELERATOR)
            self._rows_for[shapes] = max(1, available // one_row)
        return self._rows_for[shapes]

    @torch.no_grad()
    def _measure(self, example: Batch) -> int:
        """Bytes that one example of one variant takes, found by running some.

        One row of them is shut, since a layer copies the rows that are open where not all are; it is not counted.
        """
        rows = 8
        self.rows.hold(self.rows.random_factors(rows), torch.arange(rows) > 0)
        copies = repeated(example, rows)
        with _Peak() as peak:
            measured(self.task, self._block_by_block(copies), copies)
        return peak.bytes // (rows - 1)


def _stack_of_blocks(rows: AdapterStack) -> str:
    """The name of the one ``nn.ModuleList`` that all adapted layers are in."""
    stacks = {block.rpartition(".")[0] for block in rows.blocks}
    name = stacks.pop()
    if stacks or not isinstance(rows.model.get_submodule(name), nn.ModuleList):
        raise NotAChain("the adapted layers are not all in one stack of blocks.")
    return name


class _Peak(TorchDispatchMode):
    """Attribute ``bytes``: the most that the tensors made within it took at one time."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self._now = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        given = {tensor.untyped_storage()._cdata for tensor in _tensors((args, kwargs))}
        for tensor in _tensors(output):
            storage = tensor.untyped_storage()
            if storage._cdata not in given | self._alive:  # neither a view nor written in place
                self._alive.add(storage._cdata)
                self._now += storage.nbytes()
                self.bytes = max(self.bytes, self._now)
                weakref.finalize(storage, self._freed, storage._cdata, storage.nbytes())
        return output

    def _freed(self, key: int, n_bytes: int) -> None:
        self._alive.remove(key)
        self._now -= n_bytes


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_iter(tree) if isinstance(leaf, Tensor)]
