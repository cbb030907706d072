"""LoRA-Pro: gradients of the two factors that move their product as full fine-tuning would, as nearly as a product can.

A step of the factors A and B moves the update ΔW = s·BA by s·(B gA + gB A), to first order: its *equivalent gradient*. That of
plain LoRA differs from the gradient g of the weight. LoRA-Pro adjusts gA and gB so that it comes as near to g as it can: to
g − (I − P_B) g (I − P_A), with P_B the projection on the columns of B and P_A that on the rows of A. For this it needs no more
than the gradients of the factors, g_A = s Bᵀg and g_B = s gAᵀ. One r by r matrix X stays free; the best one leaves the adjusted
gradients as near to g_A and g_B as possible.

Source: Wang et al. 2024 (arXiv:2407.18242, ICLR 2025), theorems 2.1 to 2.3.

All functions take any leading dimensions, so that one call serves many modules of one shape: A is ``[*M, r, in]``, B is
``[*M, out, r]``, and the scale s is a number or ``[*M, 1, 1]``. Give float64: inverses of Gram matrices amplify rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Added to every eigenvalue of BᵀB and AAᵀ, as in the paper's code. It is absolute, so that there is a bound on what the
# inverses do: no singular value of (BᵀB + 1e-8·I)⁻¹Bᵀ exceeds 1 / (2·√1e-8) = 5000, however small B is. A share of the largest
# eigenvalue would shrink with B: for a B of size 1e-12, A would move by about 1e12 times the gradient.
DAMPING = 1e-8


@dataclass(frozen=True, eq=False)
class Gram:
    """The matrix of inner products of the columns of B or of the rows of A, damped, by its eigenvalues and eigenvectors.

    Attributes:
        values: at least `DAMPING`, ``[*M, r]``.
        vectors: in columns, ``[*M, r, r]``.
    """

    values: Float[Tensor, "*M r"]
    vectors: Float[Tensor, "*M r r"]

    def inverse(self) -> Float[Tensor, "*M r r"]:
        """The inverse of the damped matrix."""
        return (self.vectors / self.values[..., None, :]) @ self.vectors.mT


@dataclass(frozen=True, eq=False)
class Factors:
    """The two factors of updates s·BA, with the Gram matrices that all functions need.

    Attributes:
        a, b, scaling: A, B and s, as above.
        gram_b, gram_a: BᵀB and AAᵀ, damped.
    """

    a: Float[Tensor, "*M r in"]
    b: Float[Tensor, "*M out r"]
    scaling: float | Tensor
    gram_b: Gram
    gram_a: Gram

    @classmethod
    def of(cls, a: Float[Tensor, "*M r in"], b: Float[Tensor, "*M out r"], scaling: float | Tensor) -> Factors:
        """From A, B and s."""
        values, vectors = torch.linalg.eigh(torch.stack([b.mT @ b, a @ a.mT]))
        of_b, of_a = map(Gram, values.clamp(min=0) + DAMPING, vectors)  # rounding may leave eigenvalues just below 0
        return cls(a, b, scaling, of_b, of_a)


def project_back(factors: Factors, g: Float[Tensor, "*M out in"]) -> tuple[Tensor, Tensor]:
    """The gradients g_A = s Bᵀg ``[*M, r, in]`` and g_B = s gAᵀ ``[*M, out, r]`` of the factors, from that of the weight."""
    return factors.scaling * (factors.b.mT @ g), factors.scaling * (g @ factors.a.mT)


def with_zero_x(
    factors: Factors, g_a: Float[Tensor, "*M r in"], g_b: Float[Tensor, "*M out r"]
) -> tuple[Float[Tensor, "*M r in"], Float[Tensor, "*M out r"]]:
    """The adjusted gradients for X = 0: s⁻² (BᵀB)⁻¹ g_A, and s⁻² (I − P_B) g_B (AAᵀ)⁻¹."""
    inverse_b, square = factors.gram_b.inverse(), factors.scaling**2
    right = g_b @ factors.gram_a.inverse()
    return inverse_b @ g_a / square, (right - factors.b @ (inverse_b @ (factors.b.mT @ right))) / square


def equivalent_gradient(
    factors: Factors, g_a: Float[Tensor, "*M r in"], g_b: Float[Tensor, "*M out r"]
) -> Float[Tensor, "*M out in"]:
    """How the adjusted gradients move the weight: s·(B gA + gB A) = g − (I − P_B) g (I − P_A), whatever X is."""
    left, right = with_zero_x(factors, g_a, g_b)
    product: Tensor = torch.cat([factors.b, right], -1) @ torch.cat([left, factors.a], -2)
    return factors.scaling * product


def solve_sylvester(g: Gram, k: Gram, right: Float[Tensor, "*M r r"]) -> Float[Tensor, "*M r r"]:
    """The X of G X + X K = ``right``: in the eigenvectors of G and K, every entry is divided by a sum of two eigenvalues."""
    turned = g.vectors.mT @ right @ k.vectors
    return g.vectors @ (turned / (g.values[..., :, None] + k.values[..., None, :])) @ k.vectors.mT


def adjusted_gradients(
    factors: Factors, g_a: Float[Tensor, "*M r in"], g_b: Float[Tensor, "*M out r"]
) -> tuple[Float[Tensor, "*M r in"], Float[Tensor, "*M out r"]]:
    """The adjusted gradients that are nearest to g_A and g_B; with B = 0 they are 0 and s⁻² g_B (AAᵀ)⁻¹.

    Of all pairs with the same equivalent gradient, the gradients for X = 0 plus X A and minus B X, those that minimise
    ‖gA − g_A‖² + ‖gB − g_B‖². That X solves BᵀB X + X AAᵀ = −s⁻² (BᵀB)⁻¹ g_A Aᵀ.
    """
    left, right = with_zero_x(factors, g_a, g_b)
    x = solve_sylvester(factors.gram_b, factors.gram_a, -left @ factors.a.mT)
    return left + x @ factors.a, right - factors.b @ x
