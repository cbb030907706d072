"""How a callback finds the trainers that call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gating.test_callback import make_trainer
from transformers import TrainerCallback
from transformers.trainer_callback import CallbackHandler

from coto_lab.gating.handlers import calling_handlers, speak_first


class Looks(TrainerCallback):
    """Finds the handlers when its training begins, after another training inside, if there is one."""

    def __init__(self, inside: Any = None):
        self.inside = inside
        self.found: list[CallbackHandler] = []

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        if self.inside is not None:
            self.inside.train()
        self.found = list(calling_handlers())


def test_the_innermost_trainer_comes_first_and_each_comes_once(tmp_path: Path) -> None:
    deep = Looks()
    inner = make_trainer(tmp_path / "inner", deep, max_steps=1)
    outside = Looks(inner)
    outer = make_trainer(tmp_path, outside, max_steps=1)
    outer.train()
    assert deep.found == [inner.callback_handler, outer.callback_handler]
    assert outside.found == [outer.callback_handler]


def test_without_a_trainer_there_is_none() -> None:
    assert list(calling_handlers()) == []
    speak_first(TrainerCallback())  # nothing to do


def test_who_speaks_first_is_called_first_from_then_on(tmp_path: Path) -> None:
    class First(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            speak_first(self)

    before, first = Looks(), First()
    trainer = make_trainer(tmp_path, before, first, max_steps=1)
    others = [callback for callback in trainer.callback_handler.callbacks if callback is not first]
    trainer.train()
    assert trainer.callback_handler.callbacks == [first, *others]
