"""The decorator that makes an exercise of a check: it prints the findings, and it does not call an empty answer wrong."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

from coto_lab.exercises._raised import raised_by

EMPTY = "Nothing to check yet: write your answer in the cell above, run it, and run this cell again."


def exercise(praise: str, answers: int = 1) -> Callable[[Callable[..., list[str]]], Callable[..., None]]:
    """Decorate a check that returns sentences about mistakes: the exercise prints them, or ``praise`` if there are none.

    An answer that is still ``...``, or whose functions still raise NotImplementedError, is not a mistake; a line says where to
    write the answer. Any other error of an answer's functions becomes a sentence. An error of the check itself is raised.

    Args:
        praise: the sentence that is printed if nothing is wrong.
        answers: how many of the check's first arguments are answers.
    """

    def decorate(check: Callable[..., list[str]]) -> Callable[..., None]:
        names = list(inspect.signature(check).parameters)[:answers]

        def complaints(*given: Any, **settings: Any) -> list[str] | None:
            missing = [name for name, answer in zip(names, given, strict=False) if answer is ...]
            if missing:
                return [f"{name} is still empty" for name in missing] if len(missing) < answers else None
            try:
                return check(*given, **settings)
            except NotImplementedError:
                return None
            except Exception as error:
                if sentence := raised_by(given[:answers], error):
                    return [sentence]
                raise

        @functools.wraps(check)
        def printed(*given: Any, **settings: Any) -> None:
            found = complaints(*given, **settings)
            if found is None:
                print(EMPTY)
            else:
                print("\n".join(f"✗ {complaint}" for complaint in found) or f"✓ {praise}")

        return printed

    return decorate
