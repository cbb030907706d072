"""Conflicts: in which blocks the updates of several adapters get into each other's way when they are merged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.names import PREFIX
from coto_lab.ground.lists import check_dict
from coto_lab.merging.magnitude import largest
from coto_lab.merging.merge import merge
from coto_lab.merging.rule import checked_density
from coto_lab.merging.updates import factors_of
from coto_lab.probes.geometry import Geometry
from coto_lab.scoring.sites import find_sites
from coto_lab.scoring.sources import Source, check_base, open_source
from coto_lab.tasks.check import fresh_base
from coto_lab.tasks.task import Task
from coto_lab.training.run import Run


@dataclass(frozen=True, eq=False)
class Conflicts:
    """The updates ΔW of n adapters, block by block.

    Attributes:
        names: of the adapters.
        blocks: of the model.
        gram: inner products of the updates: float64 ``[blocks, n, n]``.
        opposed: of the entries that are among the largest of both adapters of a pair, the share with opposite signs: float64
            ``[blocks, n, n]``, NaN where there are none. Updates that have nothing to do with each other are near 1/2.
        own: of the 1:1:... fusion, the length of the adapters' own part, Σ wᵢ²ΔWᵢ with w = 1/n: float64 ``[blocks]``.
        cross: the length of all the rest, the cross terms wᵢwⱼ·s·BᵢAⱼ between different adapters: float64 ``[blocks]``.
    """

    names: tuple[str, ...]
    blocks: tuple[str, ...]
    gram: Float[Tensor, "blocks n n"]
    opposed: Float[Tensor, "blocks n n"]
    own: Float[Tensor, " blocks"]
    cross: Float[Tensor, " blocks"]

    @property
    def norm(self) -> Float[Tensor, "blocks n"]:
        """Length ‖ΔW‖ of each adapter's update in each block."""
        return self.gram.diagonal(dim1=1, dim2=2).sqrt()

    @property
    def cosine(self) -> Float[Tensor, "blocks n n"]:
        """Cosine similarity of each pair in each block."""
        return self.gram / (self.norm[:, :, None] * self.norm[:, None, :])

    @property
    def whole(self) -> Geometry:
        """Angles and distances between the updates of all blocks together."""
        return Geometry(self.names, self.gram.sum(0), "update")

    def of_pairs(self, values: Float[Tensor, "blocks n n"]) -> Float[Tensor, "blocks pairs"]:
        """Of values for all pairs, such as `cosine`, each pair once: the first adapter with the second, the third, ..."""
        first, second = torch.triu_indices(len(self.names), len(self.names), 1)
        return values[:, first, second]


def conflicts(task: Task, adapters: Mapping[str, Source], density: float = 0.2) -> Conflicts:
    """Compare the updates of adapters of one base, block by block; no model is run.

    Args:
        task: any task on the base model of the adapters; the model says which blocks there are.
        adapters: name -> plain LoRA of one rank, at least two; runs and folders stand for their adapters.
        density: share of the entries of each weight matrix's update that count as its largest, as in `Ties`.

    Raises:
        TypeError: ``adapters`` is no mapping, or holds something else than runs, adapters and folders.
        ValueError: fewer than two adapters; adapters that cannot be fused, or that do not fit the base model of ``task``;
            ``density`` is not in (0, 1].

    Source: sign conflicts as in TIES (Yadav et al. 2023, arXiv:2306.01708); cross terms as in arXiv:2506.05713.
    """
    check_dict("adapters", adapters, object, "give a dict of runs, adapters or folders, such as {'digits': run}.")
    if len(adapters) < 2:
        raise ValueError(f"adapters has {len(adapters)}: give at least two to compare.")
    share = checked_density(density)
    parts = [_opened(task, name, item) for name, item in adapters.items()]
    fused = merge(parts, "fuse").factors()  # looks at the adapters first
    factors = factors_of(parts)
    sites = find_sites(fresh_base(task), parts[0])
    blocks, n = sites.block_names, len(parts)
    gram, opposed, common = (torch.zeros(len(blocks), n, n, dtype=torch.float64) for _ in range(3))
    own, cross = (torch.zeros(len(blocks), dtype=torch.float64) for _ in range(2))
    for name, block in zip(sites.names, sites.blocks, strict=True):
        i, key = blocks.index(block), f"{PREFIX}{name}"
        updates = torch.stack([b @ a for a, b in factors[key]])  # [n, out, in]
        flat = updates.flatten(1).double()
        gram[i] += flat @ flat.T
        signs = torch.stack([largest(update, share).sign() for update in updates]).flatten(1).double()
        both = signs.abs() @ signs.abs().T
        opposed[i] += (both - signs @ signs.T) / 2
        common[i] += both
        mine = updates.double().sum(0) / n**2
        a, b = fused[key]
        own[i] += mine.square().sum()
        cross[i] += ((b @ a).double() - mine).square().sum()
    return Conflicts(tuple(adapters), blocks, gram, opposed / common, own.sqrt(), cross.sqrt())


def _opened(task: Task, name: str, source: Source) -> Adapter:
    item = open_source(source, f"adapters[{name!r}]")
    check_base(task, item.base, f"adapters[{name!r}]")
    return item.adapter if isinstance(item, Run) else item
