"""The exercise of the notebook on the variants of LoRA."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from coto_lab.adapters.lora_pro import Factors, equivalent_gradient, project_back, with_zero_x
from coto_lab.exercises._exercise import exercise

_OUT, _IN, _R, _S = 7, 9, 2, 2.5  # all numbers differ, so that a transposed factor does not fit
_NEAR = 1e-5  # the lab adds 1e-8 to the eigenvalues of BᵀB and AAᵀ; an answer need not

_START = (
    "at the start of a training B is 0, and BᵀB has no inverse: add 1e-8 times the identity, torch.eye(len(A)), to BᵀB, or "
    "take torch.linalg.pinv"
)


@exercise("These gradients move the weight as near to full fine-tuning as a product can.")
def check_lora_pro(my_adjusted: Callable[[Tensor, Tensor, Tensor, Tensor, float], Any]) -> list[str]:
    """Check the adjusted gradients of LoRA-Pro, written by hand.

    Any choice of the free matrix X is right: how the weight moves is compared, s·(B gA + gB A).

    Args:
        my_adjusted: called as ``my_adjusted(A, B, g_A, g_B, s)`` with A and g_A ``[r, in]``, B and g_B ``[out, r]``, float64;
            returns gA ``[r, in]`` and gB ``[out, r]``.
    """
    factors = _factors(_randn(_OUT, _R, seed=2))
    g_a, g_b = project_back(factors, _randn(_OUT, _IN, seed=3))
    answer = _answer(my_adjusted, factors, g_a, g_b)
    if complaint := _check_shapes(answer):
        return [complaint]
    of_a, of_b = answer
    if not _moves_right(factors, of_a, of_b, g_a, g_b):
        right_a, right_b = with_zero_x(factors, g_a, g_b)
        found = [
            _difference("gA", of_a, right_a, _likely_a(factors.a, factors.b, g_a)),
            _difference("gB", of_b, right_b, _likely_b(factors.a, factors.b, g_b)),
        ]
        return [complaint for complaint in found if complaint]

    factors = _factors(torch.zeros(_OUT, _R, dtype=torch.float64))
    g_a, g_b = project_back(factors, _randn(_OUT, _IN, seed=3))
    try:
        of_a, of_b = _answer(my_adjusted, factors, g_a, g_b)
    except torch.linalg.LinAlgError:
        return [_START]
    if not (of_a.isfinite().all() and of_b.isfinite().all()):
        return [f"with B = 0 there are numbers that are not finite: {_START}"]
    if not _moves_right(factors, of_a, of_b, g_a, g_b):
        return ["with B = 0, gB should be g_B (AAᵀ)⁻¹ / s²: nothing is taken away, since B has no columns that reach anything"]
    return []


def _randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _factors(b: Tensor) -> Factors:
    return Factors.of(_randn(_R, _IN, seed=1), b, _S)


def _answer(my_adjusted: Callable[..., Any], factors: Factors, g_a: Tensor, g_b: Tensor) -> Any:
    return my_adjusted(*(tensor.clone() for tensor in (factors.a, factors.b, g_a, g_b)), _S)


def _moves_right(factors: Factors, of_a: Tensor, of_b: Tensor, g_a: Tensor, g_b: Tensor) -> bool:
    moved = _S * (factors.b @ of_a.double() + of_b.double() @ factors.a)
    return _same(moved, equivalent_gradient(factors, g_a, g_b))


def _check_shapes(answer: Any) -> str:
    """One sentence on an answer that is not two tensors of the right shapes; empty if it is."""
    if not (isinstance(answer, tuple | list) and len(answer) == 2 and all(isinstance(part, Tensor) for part in answer)):
        return f"my_adjusted returns a {type(answer).__name__}; it should return two tensors, gA and gB: is there a return?"
    found, right = [list(part.shape) for part in answer], [[_R, _IN], [_OUT, _R]]
    if found == right[::-1]:
        return "the two are swapped: return gA first, then gB"
    for name, factor, shape, wanted in zip(("gA", "gB"), "AB", found, right, strict=True):
        if shape != wanted:
            turned = ": is it transposed?" if shape == wanted[::-1] else ""
            return f"{name} has shape {shape}; it should be that of {factor}, {wanted}{turned}"
    return ""


def _likely_a(a: Tensor, b: Tensor, g_a: Tensor) -> dict[str, Tensor]:
    """Sentence about a mistake -> the gA that follows from it."""
    gram, inverse = b.T @ b, torch.linalg.inv(b.T @ b)
    return _wrong_scales(inverse @ g_a) | {
        "this is g_A itself: multiply by (BᵀB)⁻¹ from the left, and divide by s²": g_a,
        "(BᵀB)⁻¹ is missing": g_a / _S**2,
        "BᵀB is not inverted: take torch.linalg.inv(B.T @ B)": gram @ g_a / _S**2,
        "1 / (BᵀB) inverts every entry: take torch.linalg.inv(B.T @ B)": (1 / gram) @ g_a / _S**2,
        "this has the inverse of AAᵀ: for gA it is that of BᵀB": torch.linalg.inv(a @ a.T) @ g_a / _S**2,
    }


def _likely_b(a: Tensor, b: Tensor, g_b: Tensor) -> dict[str, Tensor]:
    """Sentence about a mistake -> the gB that follows from it."""
    gram, inverse, of_b = a @ a.T, torch.linalg.inv(a @ a.T), b @ torch.linalg.pinv(b)
    rest = g_b - of_b @ g_b
    return _wrong_scales(rest @ inverse) | {
        "this is g_B itself: multiply by (AAᵀ)⁻¹ from the right and by I - P_B from the left, and divide by s²": g_b,
        "(AAᵀ)⁻¹ is missing": rest / _S**2,
        "AAᵀ is not inverted: take torch.linalg.inv(A @ A.T)": rest @ gram / _S**2,
        "1 / (AAᵀ) inverts every entry: take torch.linalg.inv(A @ A.T)": rest @ (1 / gram) / _S**2,
        "this has the inverse of BᵀB: for gB it is that of AAᵀ": rest @ torch.linalg.inv(b.T @ b) / _S**2,
        "I - P_B is missing: what the columns of B can reach is moved by gA already, so it would be moved twice": (
            g_b @ inverse / _S**2
        ),
        "this keeps what the columns of B can reach: take it away, with I - P_B": of_b @ g_b @ inverse / _S**2,
        "P_B is B (BᵀB)⁻¹ Bᵀ, not B Bᵀ: the columns of B do not have length 1": (g_b - b @ b.T @ g_b) @ inverse / _S**2,
    }


def _wrong_scales(unscaled: Tensor) -> dict[str, Tensor]:
    return {
        "the scale is missing: divide by s²": unscaled,
        "this is divided by s: divide by s², once for the gradient that came in and once for the step": unscaled / _S,
        "this is multiplied by s: divide by s²": unscaled * _S,
        "this is multiplied by s²: divide by it": unscaled * _S**2,
    }


def _difference(name: str, found: Tensor, right: Tensor, likely: Mapping[str, Tensor]) -> str:
    """One sentence on how a gradient differs from the right one with X = 0; empty if both are equal."""
    if _same(found, right):
        return ""
    formula = {"gA": "(BᵀB)⁻¹ g_A / s²", "gB": "(I - P_B) g_B (AAᵀ)⁻¹ / s²"}[name]
    said = next((sentence for sentence, wrong in likely.items() if _same(found, wrong)), None)
    return f"{name}: {said or f'it differs from {formula} by up to {(found - right).abs().max():.3g}'}"


def _same(found: Tensor, other: Tensor) -> bool:
    return torch.allclose(found.double(), other, rtol=_NEAR, atol=_NEAR)
