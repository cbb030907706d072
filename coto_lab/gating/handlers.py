"""The trainers that call a callback: a callback gets no reference to them, so they are found in the call stack."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler


def calling_handlers() -> Iterator[CallbackHandler]:
    """The handlers of the trainers in whose training the caller runs, the innermost first."""
    found: list[CallbackHandler] = []
    frame = sys._getframe(1)
    while frame := frame.f_back:  # type: ignore[assignment]
        owner = frame.f_locals.get("self")  # the handler, or the trainer that holds it
        handler = owner if isinstance(owner, CallbackHandler) else getattr(owner, "__dict__", {}).get("callback_handler")
        if isinstance(handler, CallbackHandler) and handler not in found:
            found.append(handler)
            yield handler


def speak_first(callback: TrainerCallback) -> None:
    """Move a callback to the front of the handler's list, so that all other callbacks get the values that it adds to the logs.

    A Trainer puts its reporters (TensorBoard, W&B, ...) before the user's callbacks and gives all of them the same logs, one
    after the other.
    """
    handler = next(calling_handlers(), None)
    if handler and callback in handler.callbacks:
        # The list is replaced and not changed, because the handler is iterating over it.
        handler.callbacks = [callback, *(other for other in handler.callbacks if other is not callback)]
