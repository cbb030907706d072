"""The check finds what readers do wrong, and lets through what is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.linalg import inv, pinv

from coto_lab.adapters.lora_pro import Factors, adjusted_gradients
from coto_lab.exercises import variants

check_lora_pro = variants.check_lora_pro.__wrapped__  # what it finds, before it is printed

Answer = Callable[[Tensor, Tensor, Tensor, Tensor, float], Any]


def damped(gram: Tensor) -> Tensor:
    return inv(gram + 1e-8 * torch.eye(len(gram)))


def by_damping(A: Tensor, B: Tensor, g_A: Tensor, g_B: Tensor, s: float) -> tuple[Tensor, Tensor]:
    """What the notebook's solution does."""
    G, K = damped(B.T @ B), damped(A @ A.T)
    return G @ g_A / s**2, (g_B - B @ G @ B.T @ g_B) @ K / s**2


def by_pseudoinverse(A: Tensor, B: Tensor, g_A: Tensor, g_B: Tensor, s: float) -> list[Tensor]:
    away = torch.eye(len(B)) - B @ pinv(B)
    return [pinv(B.T @ B) @ g_A / s**2, away @ g_B @ inv(A @ A.T) / s**2]


def with_an_x(A: Tensor, B: Tensor, g_A: Tensor, g_B: Tensor, s: float) -> tuple[Tensor, Tensor]:
    of_a, of_b = by_damping(A, B, g_A, g_B, s)
    x = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).double()
    return of_a + x @ A, of_b - B @ x


def with_the_best_x(A: Tensor, B: Tensor, g_A: Tensor, g_B: Tensor, s: float) -> tuple[Tensor, Tensor]:
    return adjusted_gradients(Factors.of(A, B, s), g_A, g_B)


@pytest.mark.parametrize("answer", [by_damping, by_pseudoinverse, with_an_x, with_the_best_x])
def test_right_answers_pass(answer: Answer) -> None:
    assert check_lora_pro(answer) == []


def of_a(change: Callable[..., Tensor]) -> Answer:
    """gA by this formula from A, B, g_A and s, beside the right gB."""
    return lambda A, B, g_A, g_B, s: (change(A, B, g_A, s), by_damping(A, B, g_A, g_B, s)[1])


def of_b(change: Callable[..., Tensor]) -> Answer:
    """gB by this formula from A, B, g_B and s, beside the right gA."""
    return lambda A, B, g_A, g_B, s: (by_damping(A, B, g_A, g_B, s)[0], change(A, B, g_B, s))


def rest(B: Tensor, g_B: Tensor) -> Tensor:
    return g_B - B @ pinv(B) @ g_B


WRONG: dict[str, Answer] = {
    "gA: the scale is missing: divide by s²": of_a(lambda A, B, g, s: inv(B.T @ B) @ g),
    "gA: this is divided by s: divide by s²": of_a(lambda A, B, g, s: inv(B.T @ B) @ g / s),
    "gA: this is multiplied by s: divide by s²": of_a(lambda A, B, g, s: inv(B.T @ B) @ g * s),
    "gA: this is multiplied by s²": of_a(lambda A, B, g, s: inv(B.T @ B) @ g * s**2),
    "gA: this is g_A itself": of_a(lambda A, B, g, s: g),
    "gA: (BᵀB)⁻¹ is missing": of_a(lambda A, B, g, s: g / s**2),
    "gA: BᵀB is not inverted": of_a(lambda A, B, g, s: B.T @ B @ g / s**2),
    "gA: 1 / (BᵀB) inverts every entry": of_a(lambda A, B, g, s: (1 / (B.T @ B)) @ g / s**2),
    "gA: this has the inverse of AAᵀ": of_a(lambda A, B, g, s: inv(A @ A.T) @ g / s**2),
    "gA: it differs from (BᵀB)⁻¹ g_A / s² by up to": of_a(lambda A, B, g, s: 7 * g),
    "gB: the scale is missing: divide by s²": of_b(lambda A, B, g, s: rest(B, g) @ inv(A @ A.T)),
    "gB: this is divided by s: divide by s²": of_b(lambda A, B, g, s: rest(B, g) @ inv(A @ A.T) / s),
    "gB: this is multiplied by s: divide by s²": of_b(lambda A, B, g, s: rest(B, g) @ inv(A @ A.T) * s),
    "gB: this is multiplied by s²": of_b(lambda A, B, g, s: rest(B, g) @ inv(A @ A.T) * s**2),
    "gB: this is g_B itself": of_b(lambda A, B, g, s: g),
    "gB: (AAᵀ)⁻¹ is missing": of_b(lambda A, B, g, s: rest(B, g) / s**2),
    "gB: AAᵀ is not inverted": of_b(lambda A, B, g, s: rest(B, g) @ A @ A.T / s**2),
    "gB: 1 / (AAᵀ) inverts every entry": of_b(lambda A, B, g, s: rest(B, g) @ (1 / (A @ A.T)) / s**2),
    "gB: this has the inverse of BᵀB": of_b(lambda A, B, g, s: rest(B, g) @ inv(B.T @ B) / s**2),
    "gB: I - P_B is missing": of_b(lambda A, B, g, s: g @ inv(A @ A.T) / s**2),
    "gB: this keeps what the columns of B can reach": of_b(lambda A, B, g, s: B @ pinv(B) @ g @ inv(A @ A.T) / s**2),
    "gB: P_B is B (BᵀB)⁻¹ Bᵀ, not B Bᵀ": of_b(lambda A, B, g, s: (g - B @ B.T @ g) @ inv(A @ A.T) / s**2),
    "gB: it differs from (I - P_B) g_B (AAᵀ)⁻¹ / s² by up to": of_b(lambda A, B, g, s: 7 * g),
    "gA has shape [9, 2]; it should be that of A, [2, 9]: is it transposed?": of_a(lambda A, B, g, s: g.T),
    "gB has shape [2, 7]; it should be that of B, [7, 2]: is it transposed?": of_b(lambda A, B, g, s: g.T),
    "gB has shape [7, 9]; it should be that of B, [7, 2]": of_b(lambda A, B, g, s: g @ A),
    "the two are swapped": lambda *given: by_damping(*given)[::-1],
    "returns a NoneType; it should return two tensors": lambda *given: None,
    "returns a Tensor; it should return two tensors": lambda *given: by_damping(*given)[0],
    "at the start of a training B is 0, and BᵀB has no inverse: add 1e-8": lambda A, B, g_A, g_B, s: (
        inv(B.T @ B) @ g_A / s**2,
        rest(B, g_B) @ inv(A @ A.T) / s**2,
    ),
    "with B = 0 there are numbers that are not finite: at the start": of_a(
        lambda A, B, g, s: pinv(B) @ (B @ damped(B.T @ B) @ g) / s**2 / (1 if B.any() else 0)
    ),
    "with B = 0, gB should be g_B (AAᵀ)⁻¹ / s²": of_b(
        lambda A, B, g, s: rest(B, g) @ inv(A @ A.T) / s**2 if B.any() else torch.zeros_like(g)
    ),
}


@pytest.mark.parametrize("complaint", WRONG)
def test_what_is_wrong_is_named(complaint: str) -> None:
    (found,) = check_lora_pro(WRONG[complaint])
    assert complaint in found


def test_two_faults_are_two_complaints() -> None:
    def plain(A: Tensor, B: Tensor, g_A: Tensor, g_B: Tensor, s: float) -> tuple[Tensor, Tensor]:
        return g_A, g_B

    first, second = check_lora_pro(plain)
    assert "gA: this is g_A itself" in first and "gB: this is g_B itself" in second


def test_the_answer_gets_copies() -> None:
    def in_place(A: Tensor, B: Tensor, g_A: Tensor, g_B: Tensor, s: float) -> tuple[Tensor, Tensor]:
        found = by_damping(A, B, g_A, g_B, s)
        for tensor in (A, B, g_A, g_B):
            tensor.zero_()
        return found

    assert check_lora_pro(in_place) == []


def test_it_prints_and_waits_for_an_answer(capsys: pytest.CaptureFixture[str]) -> None:
    def my_adjusted(A: Tensor, B: Tensor, g_A: Tensor, g_B: Tensor, s: float) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    variants.check_lora_pro(my_adjusted)
    variants.check_lora_pro(by_damping)
    empty, right = capsys.readouterr().out.splitlines()
    assert empty.startswith("Nothing to check yet") and right.startswith("✓ These gradients move the weight")
