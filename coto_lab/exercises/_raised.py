"""A sentence about an error that an answer's function raises, with the call and the line."""

from __future__ import annotations

import traceback
from collections.abc import Iterable
from types import CodeType, FrameType
from typing import Any

from torch import Tensor


def raised_by(answers: Iterable[Any], error: Exception) -> str:
    """A sentence that says which call of an answer (a function or a class) raised this error; empty if no answer did."""
    codes, frames = [code for answer in answers for code in _codes(answer)], list(traceback.walk_tb(error.__traceback__))
    called = next((frame for frame, _ in frames if frame.f_code in codes), None)
    if called is None:
        return ""
    line = [line for frame, line in frames if frame.f_code.co_filename == called.f_code.co_filename][-1]
    owner = f"{type(called.f_locals['self']).__name__}." if "self" in called.f_locals else ""
    call = f"{owner}{called.f_code.co_name}({_arguments(called)})"
    return f"{call} raises {type(error).__name__} in line {line} of its cell: {error}. It should work for these arguments too"


def _codes(answer: Any) -> list[CodeType]:
    members = [answer, *vars(answer).values()] if isinstance(answer, type) else [answer]
    return [member.__code__ for member in members if hasattr(member, "__code__")]


def _arguments(frame: FrameType) -> str:
    names = [name for name in frame.f_code.co_varnames[: frame.f_code.co_argcount] if name != "self"]
    return ", ".join(f"{name}: {_kind(frame.f_locals[name])}" for name in names if name in frame.f_locals)


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)}"
    return f"{value:g}" if isinstance(value, int | float) else type(value).__name__
