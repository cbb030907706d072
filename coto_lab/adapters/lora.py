"""The LoRA layer written out: one frozen linear map, one low-rank product beside it, and a gate.

Numerically equal to ``peft.tuners.lora.Linear`` (forward, initialisation, gradients, merge); PEFT's layer is the one to
train with, this one is the one to read. With a leading axis of *rows* it holds several adapters on one frozen base.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LoRALinear(nn.Module):
    r"""A frozen ``nn.Linear`` with a trainable low-rank update: ``y = W x + b + s B A x``, with ``s = alpha / r``.

    Without rows, x is ``[..., in]`` and y is ``[..., out]``. With ``rows=R`` there are R independent adapters:
    ``lora_A`` is ``[R, r, in]``, ``lora_B`` is ``[R, out, r]``, and x is ``[R·n, ..., in]``: its first n entries meet
    adapter 0, the next n adapter 1, and so on, while the base sees one large batch.

    At the start B is zero, so the layer computes exactly what the base computes; A is drawn as PEFT draws it.

    Args:
        base_layer: the pre-trained layer; it is frozen in place.
        r: rank, at least 1.
        alpha: scale numerator (PEFT's ``lora_alpha``).
        rows: number of adapters on the one base, or None for a plain layer.
        dropout: probability with which entries of the adapter's input are zeroed in training.
        generator: source of A; None means torch's global one, as in PEFT.

    Attributes:
        gate: True (open), False (shut: the adapter takes no part in the forward pass and gets no gradient) or, with rows,
            a ``BoolTensor [R]`` that says which rows are open.

    Raises:
        TypeError: ``base_layer`` is not an ``nn.Linear``.
        ValueError: r, rows or dropout out of range; a gate or an input whose shape does not fit the rows.

    Source: Hu et al. 2021 (arXiv:2106.09685), equation 3; the gate: arXiv:2506.05713, progressive activation.
    """

    def __init__(
        self,
        base_layer: nn.Linear,
        r: int,
        alpha: float,
        *,
        rows: int | None = None,
        dropout: float = 0.0,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if not isinstance(base_layer, nn.Linear):
            raise TypeError(f"base_layer must be an nn.Linear, got {type(base_layer).__name__}.")
        if r < 1:
            raise ValueError(f"r={r}: the rank must be at least 1.")
        if rows is not None and rows < 1:
            raise ValueError(f"rows={rows}: give at least one row, or None for a plain layer.")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout}: must be in [0, 1).")
        self.base_layer = base_layer.requires_grad_(False)
        self.scaling = alpha / r
        self.dropout = dropout
        self.gate: bool | Tensor = True
        lead = () if rows is None else (rows,)
        weight = base_layer.weight  # the factors take its device and type
        self.lora_A = nn.Parameter(weight.new_empty(*lead, r, base_layer.in_features))
        self.lora_B = nn.Parameter(weight.new_zeros(*lead, base_layer.out_features, r))
        for adapter in self.lora_A.unbind() if lead else (self.lora_A,):
            nn.init.kaiming_uniform_(adapter.data, a=math.sqrt(5), generator=generator)

    @property
    def rows(self) -> int | None:
        """Number of adapters on the one base; None for a plain layer."""
        return len(self.lora_A) if self.lora_A.dim() == 3 else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.base_layer(x)  # [..., out]
        if self.rows is None:
            if not self.gate:
                return y
            return y + F.linear(F.linear(self._dropped(x), self.lora_A), self.lora_B) * self.scaling
        if x.dim() < 2 or len(x) % self.rows:
            raise ValueError(f"x {list(x.shape)} must be [rows · n, ..., features] with rows = {self.rows}.")
        open_rows = self._open_rows()
        if not open_rows.any():
            return y
        x, y_rows = self._dropped(x).reshape(self.rows, -1, x.shape[-1]), y.view(self.rows, -1, y.shape[-1])
        if open_rows.all():
            add = torch.baddbmm if torch.is_grad_enabled() else Tensor.baddbmm_  # in place where autograd does not need y
            updated = add(y_rows, x @ self.lora_A.mT, self.lora_B.mT, alpha=self.scaling)
        else:  # shut rows are left out of the arithmetic; index_add puts the open rows' updates back in their places
            at = open_rows.nonzero().flatten().to(x.device)
            update = x[at] @ self.lora_A[at].mT @ self.lora_B[at].mT  # [open, n, out]
            updated = y_rows.index_add(0, at, update, alpha=self.scaling)
        return updated.view_as(y)

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)

    def _open_rows(self) -> Tensor:
        if isinstance(self.gate, bool):
            return torch.full((self.rows or 0,), self.gate)
        if self.gate.dtype != torch.bool or self.gate.shape != (self.rows,):
            raise ValueError(
                f"gate must be True, False or a BoolTensor [{self.rows}], got {self.gate.dtype} {list(self.gate.shape)}."
            )
        return self.gate

    def delta_weight(self) -> Tensor:
        """ΔW = s · B A, ``[out, in]`` (``[R, out, in]`` with rows): what `merge` would add to the base weight."""
        return self.lora_B @ self.lora_A * self.scaling

    def merge(self) -> nn.Linear:
        """A new plain ``nn.Linear`` with weight W + ΔW; this layer is left as it is.

        Raises:
            ValueError: the layer has rows, so there is no single weight.
        """
        if self.rows is not None:
            raise ValueError(f"a layer with rows={self.rows} has no single merged weight; merge one adapter at a time.")
        base = self.base_layer
        merged = nn.Linear(base.in_features, base.out_features, base.bias is not None)
        merged.to(device=base.weight.device, dtype=base.weight.dtype)
        with torch.no_grad():
            merged.weight.copy_(base.weight + self.delta_weight())
            if base.bias is not None:
                merged.bias.copy_(base.bias)
        return merged

    def extra_repr(self) -> str:
        return f"r={self.lora_A.shape[-2]}, scaling={self.scaling:g}" + (f", rows={self.rows}" if self.rows else "")
