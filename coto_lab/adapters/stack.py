"""Many LoRA adapters on one frozen base: each adapted layer becomes a `LoRALinear` with rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from coto_lab.adapters.adapter import Adapter
from coto_lab.adapters.blocks import blocks_of
from coto_lab.adapters.lora import LoRALinear
from coto_lab.adapters.names import PREFIX

Batch = dict[str, Tensor]


class AdapterStack:
    """A base model whose adapted layers hold R plain LoRA adapters at once; a batch holds R shares, one per adapter.

    Args:
        model: the base; its layers are replaced in place, and its parameters frozen.
        adapter: one of the adapters; its layers are those of all.

    Attributes:
        model: the base with the layers in it.
        names: the adapted layers, in the model's order.
        blocks: the block that each is on (its own name, where it is on none).
        layers: the layers; their ``lora_A``, ``lora_B`` and ``gate`` say what a forward pass computes.

    Raises:
        ValueError: the adapter is not plain LoRA.
        TypeError: it adapts another layer than an ``nn.Linear`` of this model, or one whose weight is quantised.
    """

    def __init__(self, model: nn.Module, adapter: Adapter):
        wanted = {name.removeprefix(PREFIX) for name in adapter.factors()}
        found = {name: module for name, module in model.named_modules() if name in wanted}
        mismatched = sorted(wanted - found.keys()) + [n for n, m in found.items() if not _is_plain(m)]
        if mismatched:
            raise TypeError(f"the adapter is on {mismatched[:2]}, which are not plain nn.Linear layers of this model.")
        self.model = model.requires_grad_(False)
        self.names = tuple(found)
        blocks = blocks_of(model, found)
        self.blocks = tuple(blocks[name] or name for name in found)
        self.layers = []
        for name, module in found.items():
            parent, _, leaf = name.rpartition(".")
            layer = LoRALinear(module, 1, 1, rows=1, generator=torch.Generator(module.weight.device))
            setattr(model.get_submodule(parent), leaf, layer)
            self.layers.append(layer)

    def __len__(self) -> int:
        return len(self.names)

    def stack(self, adapters: Sequence[Adapter]) -> list[tuple[Tensor, Tensor]]:
        """The factors of all adapters, layer by layer: A ``[R, r, in]`` and B ``[R, out, r]``, the scale in B.

        r is the largest rank; smaller ones are filled up with zeros, which changes no product.

        Raises:
            ValueError: an adapter is not plain LoRA, or on other layers or of other shapes than this model has.
        """
        parts = [adapter.factors() for adapter in adapters]
        stacks = []
        for name, layer in zip(self.names, self.layers, strict=True):
            pairs = [part.get(PREFIX + name) for part in parts]
            base = layer.base_layer
            for part, pair in zip(parts, pairs, strict=True):
                fits = pair is not None and len(part) == len(self.names)
                if pair is None or not fits or (pair[0].shape[1], pair[1].shape[0]) != (base.in_features, base.out_features):
                    raise ValueError(
                        f"an adapter does not fit the model: its layers or shapes differ, first at {name}. Use the base model "
                        "that it was trained on, and adapters of the same layers."
                    )
            rank = max(len(a) for a, _ in filter(None, pairs))
            a = torch.stack([_filled(a, 0, rank) for a, _ in filter(None, pairs)])
            b = torch.stack([_filled(b, 1, rank) for _, b in filter(None, pairs)])
            stacks.append((a.to(base.weight), b.to(base.weight)))
        return stacks

    @torch.no_grad()
    def stay_apart(
        self, batch: Batch, alone: Callable[[Batch], Tensor], together: Callable[[Batch], Tensor] | None = None
    ) -> bool:
        """Whether two rows compute together what each computes by itself; the layers hold other factors afterwards.

        They do not where the model mixes the examples of a batch (batch statistics in training), and where the input of a
        layer has another leading dimension than theirs.

        Args:
            batch: a few examples.
            alone: runs the model on one row's examples.
            together: the same on two rows; None takes ``alone``.
        """
        n = max(1, min(2, len(next(iter(batch.values()))) // 2))
        shares = [{name: column[:n] for name, column in batch.items()}, {name: column[-n:] for name, column in batch.items()}]
        factors = self.random_factors(2)
        expected = []
        for row, share in enumerate(shares):
            self.hold([(a[row : row + 1], b[row : row + 1]) for a, b in factors])
            expected.append(alone(share))
        self.hold(factors)
        try:
            found = (together or alone)({name: torch.cat([share[name] for share in shares]) for name in batch})
        except ValueError:  # LoRALinear: an input whose leading dimension cannot be shared by the rows
            return False
        # Kernels for another batch size add in another order. In half precision that shows, whatever the type of the result.
        computed = self.layers[0].base_layer.weight.dtype
        rounding = max(4 * torch.finfo(found.dtype).eps ** 0.5, 4 * torch.finfo(computed).eps)
        return bool((found - torch.cat(expected)).norm() <= rounding * found.norm())

    def random_factors(self, rows: int) -> list[tuple[Tensor, Tensor]]:
        """Factors of rank 1, layer by layer, whose updates are about as large as what the base computes."""
        generator = torch.Generator().manual_seed(0)
        factors = []
        for layer in self.layers:
            weight = layer.base_layer.weight
            n_out, n_in = weight.shape
            a, b = (torch.randn(rows, *shape, generator=generator).to(weight) for shape in ((1, n_in), (n_out, 1)))
            factors.append((a / n_in**0.5, b * weight.norm() / n_out**0.5))
        return factors

    def hold(self, factors: Sequence[tuple[Tensor, Tensor]], gate: bool | Tensor = True) -> None:
        """Give every layer its factors, A ``[R, r, in]`` and B ``[R, out, r]``, and the same gate."""
        for layer, (a, b) in zip(self.layers, factors, strict=True):
            layer.lora_A.data, layer.lora_B.data, layer.gate = a, b, gate


def _is_plain(module: nn.Module) -> bool:
    """Whether a layer is linear and stores its weight as numbers: quantisation puts a class of its own in either place."""
    return type(module) is nn.Linear and type(module.weight) is nn.Parameter


def _filled(factor: Tensor, dim: int, rank: int) -> Tensor:
    missing = rank - factor.shape[dim]
    shape = [missing if i == dim else n for i, n in enumerate(factor.shape)]
    return torch.cat([factor, factor.new_zeros(shape)], dim) if missing else factor
