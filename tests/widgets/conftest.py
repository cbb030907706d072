"""What tests of views share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from coto_lab import Evaluator


@pytest.fixture
def count_variants(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """``count_variants()`` returns a list; every later call of an evaluator adds how many variants it scored."""

    def start() -> list[int]:
        counts: list[int] = []
        score = Evaluator.__call__

        def counted(self, variants, **options):
            counts.append(len(variants))
            return score(self, variants, **options)

        monkeypatch.setattr(Evaluator, "__call__", counted)
        return counts

    return start
