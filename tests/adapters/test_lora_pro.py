"""The formulas of LoRA-Pro, against projections, scipy, gradients by autograd, and perturbations."""

from __future__ import annotations

import math

import pytest
import scipy.linalg
import torch
from torch import Tensor

from coto_lab.adapters.lora_pro import (
    DAMPING,
    Factors,
    Gram,
    adjusted_gradients,
    equivalent_gradient,
    project_back,
    solve_sylvester,
    with_zero_x,
)

M, OUT, IN, R = 3, 7, 9, 2  # all differ, so that a transposed factor does not fit
SCALES = {
    "one": 1.0,
    "alpha / r": 2.5,
    "alpha / √r": 5 / math.sqrt(R),
    "each its own": torch.tensor([0.5, 1, 4]).reshape(M, 1, 1),
}


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def made(scaling: float | Tensor = 2.5) -> tuple[Factors, Tensor, Tensor, Tensor]:
    """Factors of three modules, a gradient g of their weights, and the gradients of the factors by autograd."""
    a, b, g = randn(M, R, IN, seed=1).requires_grad_(), randn(M, OUT, R, seed=2).requires_grad_(), randn(M, OUT, IN, seed=3)
    (scaling * (b @ a) * g).sum().backward()
    assert a.grad is not None and b.grad is not None
    return Factors.of(a.detach(), b.detach(), scaling), g, a.grad, b.grad


def projection(columns: Tensor) -> Tensor:
    return columns @ torch.linalg.pinv(columns)


def distance(factors: Factors, x: Tensor, g_a: Tensor, g_b: Tensor) -> Tensor:
    """‖gA − g_A‖² + ‖gB − g_B‖² of the adjusted gradients for an X, by their definition."""
    left, right = with_zero_x(factors, g_a, g_b)
    return ((left + x @ factors.a - g_a) ** 2).sum((-2, -1)) + ((right - factors.b @ x - g_b) ** 2).sum((-2, -1))


@pytest.mark.parametrize("scaling", SCALES.values(), ids=SCALES)
def test_the_equivalent_gradient_lacks_only_what_no_product_can_do(scaling: float | Tensor) -> None:
    factors, g, g_a, g_b = made(scaling)
    of_b, of_a = projection(factors.b), projection(factors.a.mT)
    expected = g - (torch.eye(OUT) - of_b) @ g @ (torch.eye(IN) - of_a)
    torch.testing.assert_close(equivalent_gradient(factors, g_a, g_b), expected, rtol=0, atol=1e-6)
    assert (expected - g).abs().max() > 0.1, "something is lacking"


@pytest.mark.parametrize("scaling", SCALES.values(), ids=SCALES)
def test_the_adjusted_gradients_have_that_equivalent_gradient(scaling: float | Tensor) -> None:
    factors, _, g_a, g_b = made(scaling)
    for new_a, new_b in (adjusted_gradients(factors, g_a, g_b), with_zero_x(factors, g_a, g_b)):
        moved = scaling * (factors.b @ new_a + new_b @ factors.a)
        torch.testing.assert_close(moved, equivalent_gradient(factors, g_a, g_b))


@pytest.mark.parametrize("scaling", SCALES.values(), ids=SCALES)
def test_x_is_the_best(scaling: float | Tensor) -> None:
    factors, _, g_a, g_b = made(scaling)
    new_a, new_b = adjusted_gradients(factors, g_a, g_b)
    best = ((new_a - g_a) ** 2).sum((-2, -1)) + ((new_b - g_b) ** 2).sum((-2, -1))
    x = (new_a - with_zero_x(factors, g_a, g_b)[0]) @ torch.linalg.pinv(factors.a)
    torch.testing.assert_close(distance(factors, x, g_a, g_b), best)
    for seed in range(20):
        assert (distance(factors, x + 0.01 * randn(M, R, R, seed=seed), g_a, g_b) > best).all()
    free = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(distance(factors, free, g_a, g_b).sum(), free)
    assert slope.abs().max() < 1e-5


def test_the_sylvester_equation_is_solved() -> None:
    factors, right = made()[0], randn(M, R, R, seed=4)
    x = solve_sylvester(factors.gram_b, factors.gram_a, right)
    for i in range(M):
        a, b = factors.a[i], factors.b[i]
        g, k = (matrix + DAMPING * torch.eye(R) for matrix in (b.T @ b, a @ a.T))
        torch.testing.assert_close(x[i], torch.from_numpy(scipy.linalg.solve_sylvester(g.numpy(), k.numpy(), right[i].numpy())))
        assert (g @ x[i] + x[i] @ k - right[i]).abs().max() < 1e-13


def test_x_solves_the_sylvester_equation_of_the_paper() -> None:
    factors, _, g_a, g_b = made(2.5)
    x = (adjusted_gradients(factors, g_a, g_b)[0] - with_zero_x(factors, g_a, g_b)[0]) @ torch.linalg.pinv(factors.a)
    for i in range(M):
        a, b = factors.a[i], factors.b[i]
        right = -torch.linalg.inv(b.T @ b) @ g_a[i] @ a.T / 2.5**2
        by_scipy = scipy.linalg.solve_sylvester((b.T @ b).numpy(), (a @ a.T).numpy(), right.numpy())
        torch.testing.assert_close(x[i], torch.from_numpy(by_scipy), rtol=0, atol=1e-6)


def test_a_gram_matrix_has_its_inverse() -> None:
    factors = made()[0]
    for gram, matrix in ((factors.gram_b, factors.b.mT @ factors.b), (factors.gram_a, factors.a @ factors.a.mT)):
        torch.testing.assert_close(gram.inverse() @ (matrix + DAMPING * torch.eye(R)), torch.eye(R).double().expand(M, R, R))


@pytest.mark.parametrize("scaling", [1.0, 2.5])
def test_at_the_start_of_lora_only_b_moves(scaling: float) -> None:
    a, g = randn(R, IN, seed=1), randn(OUT, IN, seed=3)
    factors = Factors.of(a, torch.zeros(OUT, R, dtype=torch.float64), scaling)
    g_a, g_b = project_back(factors, g)
    assert not g_a.any()
    new_a, new_b = adjusted_gradients(factors, g_a, g_b)
    assert not new_a.any()
    torch.testing.assert_close(new_b, g_b @ torch.linalg.inv(a @ a.T) / scaling**2, rtol=0, atol=1e-7)
    torch.testing.assert_close(equivalent_gradient(factors, g_a, g_b), g @ projection(a.T), rtol=0, atol=1e-7)


def test_projecting_back_is_what_autograd_does() -> None:
    factors, g, g_a, g_b = made()
    for found, expected in zip(project_back(factors, g), (g_a, g_b), strict=True):
        torch.testing.assert_close(found, expected)


def test_one_call_for_many_modules_is_one_call_for_each() -> None:
    factors, _, g_a, g_b = made(2.5)
    together = adjusted_gradients(factors, g_a, g_b), equivalent_gradient(factors, g_a, g_b)
    for i in range(M):
        own = Factors.of(factors.a[i], factors.b[i], 2.5)
        for found, expected in zip(adjusted_gradients(own, g_a[i], g_b[i]), together[0], strict=True):
            torch.testing.assert_close(found, expected[i])
        torch.testing.assert_close(equivalent_gradient(own, g_a[i], g_b[i]), together[1][i])


@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6, 1e-12, 1e-30, 0.0])
def test_factors_of_any_size_give_bounded_gradients(size: float) -> None:
    """Whatever B is, the part for X = 0 is at most 5000 times the gradient: the largest value of σ / (σ² + 1e-8)."""
    a, b, g = randn(R, IN, seed=1), size * randn(OUT, R, seed=2), randn(OUT, IN, seed=3)
    factors = Factors.of(a, b, 1.0)
    left, _ = with_zero_x(factors, *project_back(factors, g))
    assert torch.linalg.matrix_norm(left, 2) <= 5000 * torch.linalg.matrix_norm(g, 2)
    new_a, new_b = adjusted_gradients(factors, *project_back(factors, g))
    assert new_a.norm() <= 2 * 5000 * g.norm() and new_b.isfinite().all()
    expected = b @ torch.linalg.inv(b.T @ b + DAMPING * torch.eye(R)) @ b.T if size else torch.zeros(OUT, OUT).double()
    moved = g - (torch.eye(OUT) - expected) @ g @ (torch.eye(IN) - projection(a.T))
    torch.testing.assert_close(equivalent_gradient(factors, *project_back(factors, g)), moved, rtol=0, atol=1e-5)


def test_factors_of_lower_rank_give_finite_gradients() -> None:
    column = randn(OUT, 1, seed=2, dtype=torch.float32)
    b = torch.cat([column, column * 3], 1)
    a = randn(R, IN, seed=1, dtype=torch.float32)
    factors = Factors.of(a.double(), b.double(), 1.0)
    assert (factors.gram_b.values >= DAMPING).all() and isinstance(factors.gram_b, Gram)
    g = randn(OUT, IN, seed=3)
    new_a, new_b = adjusted_gradients(factors, *project_back(factors, g))
    assert new_a.norm() < 10 * g.norm() and new_b.norm() < 10 * g.norm()
    expected = g - (torch.eye(OUT) - projection(column.double())) @ g @ (torch.eye(IN) - projection(a.double().T))
    torch.testing.assert_close(equivalent_gradient(factors, *project_back(factors, g)), expected, rtol=0, atol=1e-5)
