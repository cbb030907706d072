"""Checkpointing that a trainer switches off and on again inside a step, as TRL does around references and rollouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from coto_lab.gating.checkpointing import checkpoints_reentrantly, is_checkpointed

_ASK = "enable_input_require_grads"


def do_not_ask_anew(model: nn.Module) -> Callable[[], None]:
    """Let the backward pass stop at the lowest open block, also after checkpointing was switched off and on again.

    Whenever it is switched on, transformers has the embeddings ask for gradients, so what `let_backward_stop` did would hold
    for the first step only. A model that is not checkpointed, or reentrantly, stays as it is.

    Returns:
        A function that undoes it.
    """
    silenced: list[nn.Module] = []
    if is_checkpointed(model) and not checkpoints_reentrantly(model):
        silenced = [module for module in model.modules() if hasattr(type(module), _ASK)]
    for module in silenced:
        vars(module)[_ASK] = _ask_nothing

    def undo() -> None:
        for module in silenced:
            vars(module).pop(_ASK, None)

    return undo


def _ask_nothing(*_: Any, **__: Any) -> None:
    pass
