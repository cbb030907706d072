"""The optimiser of LoRA-Pro: it trains the pairs of LoRA factors in a model together, and everything else by AdamW."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from coto_lab.adapters.lora_pairs import PLAIN, check_pairs, find_pairs, names_in
from coto_lab.adapters.lora_pro import Factors, adjusted_gradients, equivalent_gradient, project_back

FORMS = ("adam", "sgd")
_ENTRIES_AT_ONCE = 2**22  # of full matrices, so that large modules do not multiply the memory


@dataclass(frozen=True, eq=False)
class _Pair:
    """The factors of a module, A ``[r, in]`` and B ``[out, r]``, and their parameter group."""

    a: Tensor
    b: Tensor
    group: dict[str, Any]


class LoRAProOptimizer(torch.optim.Optimizer):
    """LoRA-Pro on plain LoRA: pairs A, B are found by their names, and every other parameter is trained by AdamW.

    In the form "adam", the moments are those of Adam on the whole weight: of the equivalent gradient, ``[out, in]`` for each
    pair. Adam's direction is projected back to the factors and adjusted. The form "sgd" goes along the adjusted gradients and
    keeps no state. Weight decay is decoupled in both, as AdamW's is. A pair without gradients keeps its values, its moments
    and its own step count.

    The scale and the step count are those of the paper: its published code has s = 2 whatever alpha and r are, and its bias
    correction begins with step 2.

    All pairs of one shape are computed together, in float64, because the inverses of Gram matrices amplify rounding.

    Source: Wang et al. 2024 (arXiv:2407.18242), algorithms 1 and 2; the terms are in `coto_lab.adapters.lora_pro`.

    Args:
        params: named parameters, ``model.named_parameters()``, or groups of them; or groups with ``params`` and ``names``. A
            group may have its own ``lr``, ``weight_decay``, ``scaling``, ``form``, ``betas`` and ``eps``.
        lr: learning rate.
        scaling: s of the updates s·BA: alpha / r, or alpha / √r where the configuration says ``use_rslora``.
        form: "adam" or "sgd".
        betas, eps: as AdamW's.
        weight_decay: as AdamW's; of factors, too, it shrinks A and B themselves.

    Raises:
        ValueError: parameters without names; no LoRA factors among them, or what is not of a plain LoRA on a linear layer; no
            scaling; a number out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        scaling: float | None = None,
        form: str = "adam",
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ):
        defaults = {
            "lr": lr, "scaling": scaling, "form": form, "betas": betas, "eps": eps, "weight_decay": weight_decay
        }  # fmt: skip
        super().__init__(params, defaults)
        if not any(True for group in self.param_groups for _ in find_pairs(group)):
            some = [name for group in self.param_groups for name in names_in(group)][:2]
            raise ValueError(f"there are no LoRA factors among the parameters ({', '.join(some)}, ...). {PLAIN}")

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, as torch does, after all checks of the class."""
        super().add_param_group(param_group)
        try:
            check_pairs(self.param_groups[-1])
            _check_numbers(self.param_groups[-1])
        except ValueError:
            self.param_groups.pop()
            raise

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step; ``closure``, if given, computes the loss and the gradients anew."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        stacks: dict[Any, list[_Pair]] = defaultdict(list)
        others = []
        for group in self.param_groups:
            in_pairs = set()
            for name, a, b in find_pairs(group):
                in_pairs |= {a, b}
                if (a.grad is None) != (b.grad is None):
                    raise ValueError(f"{name}: one of its factors lora_A and lora_B has a gradient, but the other has none.")
                if a.grad is not None:
                    stacks[group["form"], a.shape, b.shape, a.dtype, b.dtype, a.device].append(_Pair(a, b, group))
            others += [(p, p.grad, group) for p in group["params"] if p.grad is not None and p not in in_pairs]
        for parameter, gradient, group in others:
            _take([parameter], [group], self._adam([parameter], [group], gradient[None]))
        for (form, a_shape, b_shape, *_), pairs in stacks.items():
            n = max(1, _ENTRIES_AT_ONCE // (a_shape[1] * b_shape[0]))
            for first in range(0, len(pairs), n):
                self._step_together(form, pairs[first : first + n])
        return loss

    def _step_together(self, form: str, pairs: Sequence[_Pair]) -> None:
        """One step of pairs of one shape."""
        a, b, groups = [pair.a for pair in pairs], [pair.b for pair in pairs], [pair.group for pair in pairs]
        exact_a, exact_b = _exact(a), _exact(b)
        factors = Factors.of(exact_a, exact_b, _column([group["scaling"] for group in groups], exact_a, 3))
        g_a, g_b = _exact([factor.grad for factor in a]), _exact([factor.grad for factor in b])
        if form == "adam":
            direction = self._adam(b, groups, equivalent_gradient(factors, g_a, g_b).to(b[0]))
            g_a, g_b = project_back(factors, direction.to(exact_b))
        for side, adjusted in zip((a, b), adjusted_gradients(factors, g_a, g_b), strict=True):
            _take(side, groups, adjusted)

    def _adam(self, owners: Sequence[Tensor], groups: Sequence[dict[str, Any]], gradients: Tensor) -> Tensor:
        """Adam's directions for gradients ``[M, ...]``; each has the state of its owner, in the type of the gradients."""
        states = [self.state[owner] for owner in owners]
        for state, gradient in zip(states, gradients, strict=True):
            if not state:
                state["step"] = torch.zeros(())
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
            state["step"] += 1
        numbers = [(*group["betas"], group["eps"], state["step"].item()) for group, state in zip(groups, states, strict=True)]
        first, second, eps, step = (_column(column, gradients, gradients.dim()) for column in zip(*numbers, strict=True))
        averages, squares = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        average = torch.stack(averages).lerp_(gradients, (1 - first).to(gradients))
        square = torch.stack(squares).lerp_(gradients**2, (1 - second).to(gradients))
        torch._foreach_copy_(averages, average.unbind())
        torch._foreach_copy_(squares, square.unbind())
        average.div_((1 - first**step).to(gradients))
        return average.div_(square.div_((1 - second**step).to(gradients)).sqrt_().add_(eps.to(gradients)))


def _take(parameters: list[Tensor], groups: Sequence[dict[str, Any]], directions: Tensor) -> None:
    """Move each parameter against its direction, ``[M, ...]``, and shrink it by the weight decay."""
    rates = [float(group["lr"]) for group in groups]
    decays = [1 - rate * group["weight_decay"] for rate, group in zip(rates, groups, strict=True)]
    moves = (_column(rates, directions, directions.dim()) * directions).to(parameters[0])
    torch._foreach_mul_(parameters, decays)
    torch._foreach_sub_(parameters, moves.unbind())


def _exact(tensors: Sequence[Tensor | None]) -> Tensor:
    """Tensors of one shape as float64 ``[M, ...]``, on the CPU where their device has no float64."""
    stacked = torch.stack([tensor for tensor in tensors if tensor is not None])
    return (stacked.cpu() if stacked.device.type == "mps" else stacked).double()


def _column(values: Sequence[float], like: Tensor, dim: int) -> Tensor:
    """Numbers as float64 ``[M, 1, ..., 1]`` on the device of ``like``."""
    return torch.tensor(values, dtype=torch.float64, device=like.device).reshape(-1, *[1] * (dim - 1))


def _check_numbers(group: dict[str, Any]) -> None:
    if group["form"] not in FORMS:
        raise ValueError(f"form={group['form']!r}: must be one of {', '.join(map(repr, FORMS))}.")
    for key in ("lr", "eps", "weight_decay"):
        if not group[key] >= 0:
            raise ValueError(f"{key}={group[key]!r}: must be 0 or above.")
    if not all(0 <= beta < 1 for beta in group["betas"]):
        raise ValueError(f"betas={group['betas']!r}: both must be in [0, 1).")
    if any(True for _ in find_pairs(group)) and not (group["scaling"] is not None and group["scaling"] > 0):
        raise ValueError(
            f"scaling={group['scaling']!r}: give the scale s > 0 of the updates s·BA: alpha / r, or alpha / √r with use_rslora."
        )
