"""What LoRA-Pro promises, the slow way: a full-rank optimiser whose every step is brought to the factors by least squares."""

from __future__ import annotations

import torch
from torch import Tensor


def nearest(a: Tensor, b: Tensor, wanted: Tensor, scaling: float) -> tuple[Tensor, Tensor]:
    """Of all changes of A and B that move s·BA nearest to ``wanted``, the one nearest to s·Bᵀwanted and s·wanted·Aᵀ.

    By the dense matrix of the map from the changes to the movement, which the lab never makes.
    """

    def moved(change: Tensor) -> Tensor:
        of_a, of_b = change.split([a.numel(), b.numel()])
        return (scaling * (b @ of_a.view_as(a) + of_b.view_as(b) @ a)).flatten()

    start = torch.cat([(scaling * b.T @ wanted).flatten(), (scaling * wanted @ a.T).flatten()])
    dense = torch.autograd.functional.jacobian(moved, start)
    change = start + torch.linalg.pinv(dense, rtol=1e-7) @ (wanted.flatten() - moved(start))
    of_a, of_b = change.split([a.numel(), b.numel()])
    return of_a.view_as(a), of_b.view_as(b)


class FullRank:
    """The factors A ``[r, in]`` and B ``[out, r]`` of one module, float64, with AdamW or SGD on the weight."""

    def __init__(self, a: Tensor, b: Tensor, scaling: float, form: str, weight_decay: float):
        self.a, self.b = a.detach().clone(), b.detach().clone()
        self.scaling, self.form, self.decay = scaling, form, weight_decay
        self.m, self.v, self.t = torch.zeros_like(self.b @ self.a), torch.zeros_like(self.b @ self.a), 0

    def step(self, g: Tensor, lr: float) -> None:
        """Take a step with the gradient of the weight, ``[out, in]``."""
        direction = g
        if self.form == "adam":
            self.t += 1
            left = torch.eye(len(self.b)) - self.b @ torch.linalg.pinv(self.b)
            right = torch.eye(self.a.shape[1]) - torch.linalg.pinv(self.a) @ self.a
            reached = g - left @ g @ right
            self.m = 0.9 * self.m + 0.1 * reached
            self.v = 0.999 * self.v + 0.001 * reached**2
            direction = (self.m / (1 - 0.9**self.t)) / ((self.v / (1 - 0.999**self.t)).sqrt() + 1e-8)
        of_a, of_b = nearest(self.a, self.b, direction, self.scaling)
        self.a = self.a * (1 - lr * self.decay) - lr * of_a
        self.b = self.b * (1 - lr * self.decay) - lr * of_b
