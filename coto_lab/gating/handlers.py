"""The trainers that call a callback: a callback gets no reference to them, so they are found in the call stack."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import wraps
from types import FrameType
from typing import Any

from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler

_STEP = "training_step"


def calling_handlers() -> Iterator[CallbackHandler]:
    """The handlers of the trainers in whose training the caller runs, the innermost first."""
    found: list[CallbackHandler] = []
    for frame in _frames():
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


def undo_after_exceptions(undo: Callable[[], None]) -> Callable[[], None]:
    """Have the calling trainer undo something when a training step ends in an exception, which no event tells a callback.

    Returns:
        A function that takes the trainer's step back to what it was.
    """
    from transformers import Trainer  # its import takes seconds; a training has it already

    owners = (frame.f_locals.get("self") for frame in _frames())
    trainer = next((owner for owner in owners if isinstance(owner, Trainer)), None)
    if trainer is None:
        return lambda: None
    own, step = vars(trainer).get(_STEP), getattr(trainer, _STEP)

    @wraps(step)
    def guarded(*arguments: Any, **keywords: Any) -> Any:
        try:
            return step(*arguments, **keywords)
        except BaseException:  # Ctrl-C, too
            undo()
            raise

    vars(trainer)[_STEP] = guarded

    def restore() -> None:
        if vars(trainer).get(_STEP) is guarded:
            vars(trainer).pop(_STEP)
            if own is not None:
                vars(trainer)[_STEP] = own

    return restore


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame := frame.f_back if frame else None:
        yield frame
