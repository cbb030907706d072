"""Scoring many plain LoRA variants together: rows of one batch, and one computation for what they have in common.

Two variants that agree up to block i have the same hidden state before block i + 1. So the variants are the leaves of a
tree whose level i is their state after block i; it is walked depth first, each node is computed once, and only the
nodes on the way to the current one are kept. For all 2^n coalitions of n blocks that is about two blocks per coalition
instead of n. Nodes that are due at the same level go through the block together, as rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from coto_lab.adapter import Adapter
from coto_lab.chain import BlockChain, NotAChain
from coto_lab.rows import Rows
from coto_lab.tasks import Task

Batch = dict[str, Tensor]

_AUTOMATIC = {"cpu": 2**26}  # bytes; on a CPU, what its caches still help with
_ON_ACCELERATOR = 2**32


class StackedScorer:
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

    def __init__(self, task: Task, rows: Rows, *, batch_size: int, memory: int | None):
        self.task, self.rows, self.batch_size = task, rows, batch_size
        self.device = rows.layers[0].lora_A.device
        stack = _stack_of_blocks(rows)
        self._chain = BlockChain(rows.model.get_submodule(stack))  # type: ignore[arg-type]
        depth = {f"{stack}.{i}": i for i in range(len(self._chain.blocks))}
        self._modules_of: list[list[int]] = [[] for _ in depth]
        for module, block in enumerate(rows.blocks):
            self._modules_of[depth[block]].append(module)
        one_row = batch_size * self._check_and_measure()
        if memory is not None and memory < one_row:
            raise ValueError(
                f"memory={memory}: too small for one variant, which takes about {one_row} bytes at batch_size={batch_size}; "
                "give that much, or lower batch_size."
            )
        self.max_rows = max(1, (memory or _AUTOMATIC.get(self.device.type, _ON_ACCELERATOR)) // one_row)

    @torch.no_grad()
    def __call__(self, adapters: Sequence[Adapter], masks: Tensor, data: Batch) -> Tensor:
        """Logits ``[V, N, classes]`` of V variants, each an adapter and a mask over modules (``BoolTensor [V, n_modules]``)."""
        distinct = list({id(adapter): adapter for adapter in adapters}.values())
        position = {id(adapter): i for i, adapter in enumerate(distinct)}
        self._adapter_of = torch.tensor([position[id(adapter)] for adapter in adapters])
        self._masks, self._factors = masks, self.rows.stack(distinct)
        chunks = []
        for start in range(0, len(data["labels"]), self.batch_size):
            batch = {name: column[start : start + self.batch_size].to(self.device) for name, column in data.items()}
            self._logits: list[Tensor] = [torch.empty(0)] * len(adapters)
            self._descend(0, self._enter(batch, 1), [list(range(len(adapters)))], batch)
            chunks.append(torch.stack(self._logits))
        del self._factors, self._logits
        return torch.cat(chunks, dim=1)

    def _descend(self, level: int, hidden: Tensor, members: list[list[int]], batch: Batch) -> None:
        """Score the variants ``members[r]``, whose state before block ``level`` is row r of ``hidden`` ``[R, n, ...]``."""
        if level == len(self._chain.blocks):
            for logits, variants in zip(self._leave(batch, hidden), members, strict=True):
                for variant in variants:
                    self._logits[variant] = logits
            return
        children: dict[tuple[int, tuple[object, ...]], list[int]] = {}
        for row, variants in enumerate(members):
            for variant in variants:
                children.setdefault((row, self._state(variant, level)), []).append(variant)
        nodes = list(children.items())
        for start in range(0, len(nodes), self.max_rows):
            parents = [row for (row, _), _ in nodes[start : start + self.max_rows]]
            below = [variants for _, variants in nodes[start : start + self.max_rows]]
            state = hidden if parents == list(range(len(hidden))) else hidden[parents]
            self._descend(level + 1, self._block(level, state, [variants[0] for variants in below], batch), below, batch)

    def _state(self, variant: int, level: int) -> tuple[object, ...]:
        """What decides a variant's computation in one block: its open modules, and whose they are."""
        is_open = tuple(self._masks[variant, self._modules_of[level]].tolist())
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

    def _enter(self, batch: Batch, rows: int) -> Tensor:
        """The hidden state of ``rows`` copies of a batch before the first block: ``[rows, n, ...]``."""
        copies = _repeated(batch, rows)
        self._entered = rows
        return self._chain.enter(lambda: self.task.logits(self.rows.model, copies)).unflatten(0, (rows, -1))

    def _leave(self, batch: Batch, hidden: Tensor) -> Tensor:
        """The logits of hidden states ``[R, n, ...]`` after the last block: float32 ``[R, n, classes]`` on the CPU."""
        copies = _repeated(batch, len(hidden))
        logits = self._chain.leave(lambda: self.task.logits(self.rows.model, copies), hidden.flatten(0, 1))
        return logits.unflatten(0, (len(hidden), -1)).float().cpu()

    @torch.no_grad()
    def _check_and_measure(self) -> int:
        """Bytes that one example of one variant takes; on the way, see that the blocks one by one are the model.

        The estimate is an upper one: the states kept on the way down, and a block that frees nothing before its end.
        """
        batch = {name: column[:2].to(self.device) for name, column in self.task.test_batch.items()}
        for layer in self.rows.layers:  # two rows, open and shut
            layer.lora_A.data = torch.ones_like(layer.lora_A).repeat(2, 1, 1) / layer.base_layer.in_features
            layer.lora_B.data = torch.ones_like(layer.lora_B).repeat(2, 1, 1)
            layer.gate = torch.tensor([True, False])
        copies = _repeated(batch, 2)
        sizes: list[int] = []
        first = self._chain.blocks[0]
        hooks = [m.register_forward_hook(lambda _, __, output: sizes.append(_bytes(output))) for m in first.modules()]
        try:
            whole = self.task.logits(self.rows.model, copies)
        finally:
            for hook in hooks:
                hook.remove()
        hidden = self._enter(batch, 2).flatten(0, 1)
        kept = _bytes(hidden) * (len(self._chain.blocks) + 1)
        for index in range(len(self._chain.blocks)):
            hidden = self._chain.block(index, hidden)
        parts = self._chain.leave(lambda: self.task.logits(self.rows.model, copies), hidden)
        if not torch.allclose(whole, parts, rtol=1e-3, atol=1e-3):
            raise NotAChain("run block by block, the model computes something else.")
        return (kept + sum(sizes)) // len(copies["labels"])


def _stack_of_blocks(rows: Rows) -> str:
    """The name of the one ``nn.ModuleList`` that all adapted layers are in."""
    stacks = {block.rpartition(".")[0] for block in rows.blocks}
    name = stacks.pop()
    if stacks or not isinstance(rows.model.get_submodule(name), nn.ModuleList):
        raise NotAChain("the adapted layers are not all in one stack of blocks.")
    return name


def _repeated(batch: Batch, rows: int) -> Batch:
    return {name: torch.cat([column] * rows) for name, column in batch.items()} if rows > 1 else batch


def _bytes(output: object) -> int:
    if isinstance(output, Tensor):
        return output.nbytes
    return sum(map(_bytes, output)) if isinstance(output, (tuple, list)) else 0
