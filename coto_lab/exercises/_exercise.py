"""What makes an exercise of a check: its findings are printed, and an empty answer is told from a wrong one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

EMPTY = "Nothing to check yet: write your answer in the cell above, run it, and run this cell again."


def exercise(praise: str) -> Callable[[Callable[..., list[str]]], Callable[..., None]]:
    """Decorates a check that returns sentences on what is wrong: it prints them, or ``praise`` where there are none.

    An answer that is still ``...``, or whose functions still raise NotImplementedError, is no mistake; the reader is told where
    to write.
    """

    def decorate(check: Callable[..., list[str]]) -> Callable[..., None]:
        @functools.wraps(check)
        def printed(*answers: Any, **settings: Any) -> None:
            try:
                complaints = None if any(answer is ... for answer in answers) else check(*answers, **settings)
            except NotImplementedError:
                complaints = None
            if complaints is None:
                print(EMPTY)
            else:
                print("\n".join(f"✗ {complaint}" for complaint in complaints) or f"✓ {praise}")

        return printed

    return decorate
