"""How large the update of each module is, and how its length is spread over directions."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.names import PREFIX
from coto_lab.scoring.sites import Sites

_LARGEST = 1024  # the shorter side of a matrix whose singular values take about a second


@dataclass(frozen=True, eq=False)
class Spectra:
    """The updates ΔW of an adapter's n modules.

    Attributes:
        names: of the modules, in the model's order.
        blocks: the block of each.
        norm: Frobenius norm of each update, float64 ``[n]``.
        weight_norm: Frobenius norm of the frozen weight, float64 ``[n]``; NaN where it is stored in few bits.
        singular: the singular values of each update, from the largest, float64; empty where the matrix is too large.
    """

    names: tuple[str, ...]
    blocks: tuple[str, ...]
    norm: Float[Tensor, " n"]
    weight_norm: Float[Tensor, " n"]
    singular: tuple[Tensor, ...]

    @property
    def relative(self) -> Float[Tensor, " n"]:
        """‖ΔW‖ / ‖W‖ of each module: float64 ``[n]``."""
        return self.norm / self.weight_norm

    @property
    def block_norm(self) -> dict[str, float]:
        """Norm of all updates of a block together, by block."""
        names = dict.fromkeys(self.blocks)
        return {name: self.norm[[own == name for own in self.blocks]].square().sum().sqrt().item() for name in names}

    @property
    def top_share(self) -> Float[Tensor, " n"]:
        """The share of each squared norm that its largest singular value has, float64 ``[n]``; NaN where it is not known."""
        shares = [s[0].square() / s.square().sum() if len(s) else torch.tensor(torch.nan) for s in self.singular]
        return torch.stack([share.double() for share in shares])

    def block_spectrum(self, block: str, most: int = 32) -> Float[Tensor, " k"]:
        """The singular values of a block: its i-th is √Σ σᵢ² over the block's modules, so their squares sum to ‖ΔW‖²."""
        own = [s[:most] for s, name in zip(self.singular, self.blocks, strict=True) if name == block]
        longest = max(map(len, own))
        padded = torch.stack([nn.functional.pad(s, (0, longest - len(s))) for s in own])
        return padded.square().sum(0).sqrt()


@torch.no_grad()
def spectra(adapter: Adapter, base: nn.Module, sites: Sites) -> Spectra:
    """Measure the updates of an adapter on its base model; BA of a plain LoRA is never built.

    Raises:
        ValueError: the adapter's method has no ΔW that PEFT can merge.
    """
    try:
        factors = {name.removeprefix(PREFIX): pair for name, pair in adapter.factors().items()}
    except ValueError:  # not plain LoRA
        factors = {}
    if factors and all(a.dim() == 2 for a, _ in factors.values()):
        found = {name: _of_product(a.double(), b.double()) for name, (a, b) in factors.items()}
        norms = {name: values.norm() for name, values in found.items()}
    else:
        updates = {name: update.double().flatten(1) for name, update in adapter.update(base).items()}
        norms = {name: update.norm() for name, update in updates.items()}
        small = {name: min(update.shape) <= _LARGEST for name, update in updates.items()}
        found = {name: torch.linalg.svdvals(own) if small[name] else own.new_empty(0) for name, own in updates.items()}
    weights = [getattr(base.get_submodule(name), "weight", None) for name in sites.names]
    lengths = [w.double().norm().cpu() if w is not None and w.is_floating_point() else torch.tensor(torch.nan) for w in weights]
    return Spectra(
        sites.names,
        sites.blocks,
        torch.stack([norms[name].cpu() for name in sites.names]),
        torch.stack([length.double() for length in lengths]),
        tuple(found[name].cpu() for name in sites.names),
    )


def _of_product(a: Tensor, b: Tensor) -> Tensor:
    """The singular values of B A, by the small triangular factors of B = Q R and Aᵀ = Q' R'."""
    return torch.linalg.svdvals(torch.linalg.qr(b).R @ torch.linalg.qr(a.T).R.T)
