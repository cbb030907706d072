"""What gradient checkpointing asks of a model, and how CoTo keeps its saving under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn

# The hooks by which transformers and PEFT make the output of embeddings require gradients.
_ASKING = ("make_inputs_require_grads", "make_inputs_require_grad")
_ASK = "enable_input_require_grads"


class _Silenced:
    """Stands where a hook that asks for gradients was, under its key, so that the handle of that hook removes it too.

    It does ask while the model checkpoints reentrantly, if somebody has switched to that since.
    """

    def __init__(self, hook: Callable[..., object], model: nn.Module):
        self.hook = hook
        self.may_checkpoint = [module for module in model.modules() if hasattr(module, "gradient_checkpointing")]

    def __call__(self, *arguments: object) -> None:
        if not torch.compiler.is_compiling() and any(map(_checkpoints_itself_reentrantly, self.may_checkpoint)):
            self.hook(*arguments)


def let_backward_stop(model: nn.Module) -> Callable[[], None]:
    """Let the backward pass stop at the lowest open block, where checkpointing made it go through all blocks.

    PEFT and transformers have the embeddings of a checkpointed model ask for gradients, because the reentrant kind finds no
    gradient otherwise. Then every backward pass goes down to the embeddings, and CoTo saves little. The other kind does not
    need it, so it is undone there, with the same gradients, and again whenever checkpointing is switched off and on (TRL does
    so around references and rollouts). A model that is not checkpointed, or reentrantly, stays as it is.

    `coto_lab.gating.coto.CoTo` calls it when it is made, so call it yourself only if checkpointing is switched on later.

    Returns:
        A function that makes the embeddings ask again, as `ask_again` does.
    """
    if is_checkpointed(model) and not checkpoints_reentrantly(model):
        for module in model.modules():
            # Looked for by name: transformers forgets its handle of one hook when PEFT has it put a second one there.
            for key, hook in module._forward_hooks.items():
                if getattr(hook, "__name__", "") in _ASKING:
                    module._forward_hooks[key] = _Silenced(hook, model)
            if hasattr(type(module), _ASK) and _ASK not in vars(module):  # on the instance, it comes before that of the class
                vars(module)[_ASK] = partial(_ask_silently, module)
    return lambda: ask_again(model)


def ask_again(model: nn.Module) -> None:
    """Undo `let_backward_stop`: the embeddings ask for gradients if they did before, unless that was switched off since."""
    for module in model.modules():
        if getattr(vars(module).get(_ASK), "func", None) is _ask_silently:
            del vars(module)[_ASK]
        for key, hook in module._forward_hooks.items():
            if isinstance(hook, _Silenced):
                module._forward_hooks[key] = hook.hook


def _ask_silently(model: nn.Module) -> None:
    """What ``enable_input_require_grads`` does meanwhile."""
    getattr(type(model), _ASK)(model)
    let_backward_stop(model)


def checkpoints_reentrantly(model: nn.Module) -> bool:
    """Whether a part of a model computes its activations a second time, by the reentrant kind of checkpointing."""
    return any(map(_checkpoints_itself_reentrantly, model.modules()))


def is_checkpointed(model: nn.Module) -> bool:
    """Whether training computes activations of a part of the model a second time instead of keeping them."""
    return any(map(_checkpoints_itself, model.modules()))


def _checkpoints_itself(module: nn.Module) -> bool:
    """Of transformers' and diffusers' modules, and of the wrappers of ``torch.distributed``."""
    return getattr(module, "gradient_checkpointing", False) or hasattr(module, "checkpoint_impl")


def _checkpoints_itself_reentrantly(module: nn.Module) -> bool:
    """Whether this very module checkpoints what is in it, by the reentrant kind."""
    if not _checkpoints_itself(module):
        return False
    if (kind := getattr(module, "checkpoint_impl", None)) is not None:
        return bool(kind.name == "REENTRANT")
    checkpoint = getattr(module, "_gradient_checkpointing_func", None)
    # transformers binds the arguments of ``torch.utils.checkpoint.checkpoint`` to a partial.
    settings: Mapping[str, object] = getattr(checkpoint, "keywords", {})
    of_diffusers = getattr(checkpoint, "__module__", "").startswith("diffusers.")  # whose function is of the other kind
    return bool(settings.get("use_reentrant", not of_diffusers))
