"""Geometry: how far apart the adapters of several runs are, and in which directions they point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from coto_lab.adapters.adapter import Adapter
from coto_lab.scoring.sources import Source, open_source
from coto_lab.training.run import Run

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Geometry:
    """Angles and distances between n adapters, each taken as one vector.

    Attributes:
        names: of the adapters.
        gram: their inner products, float64 ``[n, n]``.
        space: what the vectors are: ``"update"`` or ``"factors"``, see `geometry`.
    """

    names: tuple[str, ...]
    gram: Float[Tensor, "n n"]
    space: str

    @property
    def norm(self) -> Float[Tensor, " n"]:
        """Euclidean length of each vector: float64 ``[n]``; of an update, the distance to the pre-trained weights."""
        return self.gram.diagonal().sqrt()

    @property
    def cosine(self) -> Float[Tensor, "n n"]:
        """Cosine similarity of each pair, from -1 to 1: float64 ``[n, n]``; NaN where a vector is 0."""
        return self.gram / torch.outer(self.norm, self.norm)

    @property
    def distance(self) -> Float[Tensor, "n n"]:
        """Euclidean distance of each pair: float64 ``[n, n]``, 0 on the diagonal."""
        squares = self.gram.diagonal()
        return (squares[:, None] + squares - 2 * self.gram).clamp(min=0).fill_diagonal_(0).sqrt()

    def frame(self) -> pd.DataFrame:
        """One row per pair: the names a and b, their norms, cosine and distance."""
        import pandas as pd

        pairs = list(combinations(range(len(self.names)), 2))
        a, b = (torch.tensor(side) for side in zip(*pairs, strict=True))
        columns = {
            "norm_a": self.norm[a],
            "norm_b": self.norm[b],
            "cosine": self.cosine[a, b],
            "distance": self.distance[a, b],
        }
        names = {"a": [self.names[i] for i, _ in pairs], "b": [self.names[j] for _, j in pairs]}
        return pd.DataFrame(names | {name: column.numpy() for name, column in columns.items()})

    def embedding(self, how: str = "pca", seed: int = 0) -> Float[Tensor, "n 2"]:
        """A map of the adapters in the plane: float64 ``[n, 2]``.

        ``"pca"`` is exact and keeps large distances (it equals classical scaling of the distances); ``"tsne"`` keeps
        neighbours together, and its distances between groups, sizes of groups and axes mean nothing.

        Args:
            how: ``"pca"`` or ``"tsne"``.
            seed: of t-SNE's random start.

        Raises:
            ValueError: an unknown ``how``.

        Source: scikit-learn's KernelPCA on the inner products, and TSNE on the distances (van der Maaten & Hinton 2008).
        """
        if how == "pca":
            from sklearn.decomposition import KernelPCA

            pca = KernelPCA(n_components=2, kernel="precomputed", eigen_solver="dense")
            return torch.from_numpy(pca.fit_transform(self.gram.numpy()))
        if how != "tsne":
            raise ValueError(f"how={how!r}: must be 'pca' or 'tsne'.")
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(self.names) - 1) / 3)  # about the number of neighbours; must be below n
        tsne = TSNE(metric="precomputed", init="random", perplexity=perplexity, random_state=seed)
        return torch.from_numpy(tsne.fit_transform(self.distance.numpy())).double()


def geometry(adapters: Mapping[str, Source], space: str = "update") -> Geometry:
    """Compare adapters of one base model as vectors.

    ``"update"``: what they add to the base weights, ΔW = s·BA of all modules, strung together. It is 0 at the start of
    training, where B = 0, so its length is the distance to the start. ΔW is never built: ⟨B₁A₁, B₂A₂⟩ = Σ (B₁ᵀB₂) ⊙ (A₁A₂ᵀ).

    ``"factors"``: the trained tensors themselves, for LoRA A and B. One update has many factors (B and A, or BM and M⁻¹A),
    and A starts at random: adapters that do the same may be far apart here, and two of one seed are close from the start.
    It is the space in which fusion averages.

    Args:
        adapters: name -> adapter, at least two; runs and folders stand for their adapters.
        space: ``"update"`` (LoRA only, also of different ranks) or ``"factors"`` (any PEFT method).

    Raises:
        TypeError: ``adapters`` is no mapping, or holds something else than runs, adapters and folders.
        ValueError: fewer than two adapters; an unknown ``space``; runs of different bases; adapters of different modules
            or, among factors, of different shapes; another method than LoRA with ``space="update"``.

    Source: arXiv:2506.05713, cosine and Euclidean distance between adapters, and their map by t-SNE.
    """
    if not isinstance(adapters, Mapping):
        raise TypeError(f"adapters is a {type(adapters).__name__}: give a dict, {{name: run, adapter or folder}}.")
    if len(adapters) < 2:
        raise ValueError(f"adapters has {len(adapters)}: give at least two to compare.")
    if space not in ("update", "factors"):
        raise ValueError(f"space={space!r}: must be 'update' (s·BA) or 'factors' (the tensors).")
    sources = {name: open_source(item, f"adapters[{name!r}]") for name, item in adapters.items()}
    bases = {item.base: name for name, item in sources.items() if item.base is not None}
    if len(bases) > 1:
        found = ", ".join(f"{base!r} ({name!r})" for base, name in bases.items())
        raise ValueError(f"adapters are of different bases: {found}. Compare adapters of the same base model.")
    parts = {name: item.adapter if isinstance(item, Run) else item for name, item in sources.items()}
    first, *others = parts
    for name in others:
        if differing := sorted(parts[first].tensors.keys() ^ parts[name].tensors.keys()):
            raise ValueError(f"{name!r} and {first!r} are of different methods or modules: not both have {differing[:2]}.")
    gram = _update_gram(parts) if space == "update" else _factor_gram(parts)
    return Geometry(tuple(parts), gram, space)


def _update_gram(adapters: Mapping[str, Adapter]) -> Tensor:
    parts = [_factors(name, adapter) for name, adapter in adapters.items()]
    gram = torch.zeros(len(parts), len(parts), dtype=torch.float64)
    for module in parts[0]:
        a, b = zip(*(part[module] for part in parts), strict=True)  # [r, in] and [out, r] of each; ranks may differ
        owner = torch.arange(len(parts)).repeat_interleave(torch.tensor([len(factor) for factor in a]))
        stacked_a, stacked_b = torch.cat(a, dim=0).double(), torch.cat(b, dim=1).double()  # [Σ r, in], [out, Σ r]
        products = (stacked_b.T @ stacked_b) * (stacked_a @ stacked_a.T)  # [Σ r, Σ r]
        rows = torch.zeros(len(parts), len(owner), dtype=torch.float64).index_add(0, owner, products)
        gram.index_add_(1, owner, rows)
    return gram


def _factors(name: str, adapter: Adapter) -> dict[str, tuple[Tensor, Tensor]]:
    try:
        return adapter.apart()[0].factors()
    except ValueError as error:
        raise ValueError(f"adapter {name!r}, space='update': {error} Use space='factors'.") from error


def _factor_gram(adapters: Mapping[str, Adapter]) -> Tensor:
    first = next(iter(adapters.values()))
    for name, adapter in adapters.items():
        for key, tensor in adapter.tensors.items():
            if tensor.shape != first.tensors[key].shape:
                raise ValueError(
                    f"{key} is {list(tensor.shape)} in {name!r} and {list(first.tensors[key].shape)} in the first adapter: "
                    "factors of different shapes cannot be compared. Use space='update' for LoRA of different ranks."
                )
    vectors = torch.stack([torch.cat([a.tensors[key].double().flatten() for key in first.tensors]) for a in adapters.values()])
    return vectors @ vectors.T
