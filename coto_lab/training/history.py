"""What training recorded: one plain record per step, and the columns they make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Float32, Float64, Int64
from torch import Tensor

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = ("loss", "lr", "p", "seconds", "mask", "module_grad_norm")


@dataclass(frozen=True, eq=False)
class Step:
    """One optimiser step.

    Attributes:
        step: 0-based index.
        loss: mean training loss of the batch, in nats, before the update.
        lr: learning rate.
        p: activation probability.
        mask: which gates were open, ``BoolTensor [n_gates]``.
        grad_norm: Euclidean norm of the gradient of each gate's adapter, before clipping, float32 ``[n_gates]``; 0 where
            dropped.
        module_grad_norm: the same for each adapted module, ``[n_modules]``.
        seconds: wall-clock duration.
    """

    step: int
    loss: float
    lr: float
    p: float
    mask: Bool[Tensor, " n_gates"]
    grad_norm: Float32[Tensor, " n_gates"]
    module_grad_norm: Float32[Tensor, " n_modules"]
    seconds: float


@dataclass(frozen=True, eq=False)
class History:
    """Columns over the T steps of a run.

    Attributes:
        gates: names of the gates.
        modules: names of the adapted modules.
        gate_of_module: index of each module's gate, int64 ``[n_modules]``.
        loss, lr, p, seconds: float64 ``[T]``, as in `Step`.
        mask: ``BoolTensor [T, n_gates]``.
        module_grad_norm: float32 ``[T, n_modules]``.
    """

    gates: tuple[str, ...]
    modules: tuple[str, ...]
    gate_of_module: Int64[Tensor, " n_modules"]
    loss: Float64[Tensor, " T"]
    lr: Float64[Tensor, " T"]
    p: Float64[Tensor, " T"]
    seconds: Float64[Tensor, " T"]
    mask: Bool[Tensor, "T n_gates"]
    module_grad_norm: Float32[Tensor, "T n_modules"]

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def grad_norm(self) -> Float32[Tensor, "T n_gates"]:
        """Gradient norm per gate: float32 ``[T, n_gates]``, the root of the sum of its modules' squares."""
        return gate_norms(self.module_grad_norm, self.gate_of_module, len(self.gates))

    def frame(self) -> pd.DataFrame:
        """One row per step: loss, lr, p, seconds, number of open gates, and a gradient norm per gate."""
        import pandas as pd

        scalars = {name: getattr(self, name).numpy() for name in ("loss", "lr", "p", "seconds")}
        norms = dict(zip(self.gates, self.grad_norm.T.numpy(), strict=True))
        return pd.DataFrame({**scalars, "open": self.mask.sum(1).numpy(), **norms}).rename_axis("step")

    @classmethod
    def from_steps(
        cls,
        steps: Sequence[Step],
        gates: tuple[str, ...],
        modules: tuple[str, ...],
        gate_of_module: Int64[Tensor, " n_modules"],
    ) -> History:
        """The columns of a list of records."""
        scalars = {name: torch.tensor([getattr(s, name) for s in steps], dtype=torch.float64) for name in _COLUMNS[:4]}
        mask = torch.stack([s.mask for s in steps]) if steps else torch.zeros(0, len(gates), dtype=torch.bool)
        norms = torch.stack([s.module_grad_norm for s in steps]) if steps else torch.zeros(0, len(modules))
        return cls(gates, modules, gate_of_module, mask=mask, module_grad_norm=norms, **scalars)

    def steps(self) -> list[Step]:
        """The records that the columns were made of."""
        norms = self.grad_norm
        return [
            Step(
                t, self.loss[t].item(), self.lr[t].item(), self.p[t].item(),
                self.mask[t], norms[t], self.module_grad_norm[t], self.seconds[t].item(),
            )
            for t in range(len(self))
        ]  # fmt: skip

    def tensors(self) -> dict[str, Tensor]:
        """The columns as contiguous tensors, for a safetensors file."""
        columns = {name: getattr(self, name).contiguous() for name in _COLUMNS}
        return columns | {"gate_of_module": self.gate_of_module}

    def metadata(self) -> dict[str, str]:
        """The names as strings, for the header of a safetensors file."""
        return {"gates": json.dumps(self.gates), "modules": json.dumps(self.modules)}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], metadata: dict[str, str], path: Path) -> History:
        """What `tensors` and `metadata` gave.

        Raises:
            ValueError: a column is missing; ``path`` is named.
        """
        missing = {*_COLUMNS, "gate_of_module"} - tensors.keys() | {"gates", "modules"} - metadata.keys()
        if missing:
            raise ValueError(f"{str(path)!r} is not a training history: it lacks {sorted(missing)}.")
        gates, modules = (tuple(json.loads(metadata[name])) for name in ("gates", "modules"))
        return cls(gates, modules, **{name: tensors[name] for name in (*_COLUMNS, "gate_of_module")})


def gate_norms(
    module_norms: Float[Tensor, "*T n_modules"], gate_of_module: Int64[Tensor, " n_modules"], n_gates: int
) -> Float32[Tensor, "*T {n_gates}"]:
    """Norms per gate ``[..., n_gates]`` from norms per module ``[..., n_modules]``."""
    squares = module_norms.square()
    return torch.zeros(*squares.shape[:-1], n_gates).index_add(-1, gate_of_module, squares).sqrt()
