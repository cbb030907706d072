"""How many variants go through the blocks at a time, where nobody says how much memory there is, and where somebody does."""

from __future__ import annotations

import pytest

from coto_lab import Classification, Evaluator, Run, Variant
from coto_lab.scoring.tree import TreeScorer


def scorer(task: Classification, run: Run, **settings: int) -> TreeScorer:
    evaluator = Evaluator(task, **settings)
    evaluator([Variant(run.adapter)])
    (tree,) = evaluator._trees.values()
    assert tree is not None
    return tree


def least(task: Classification, run: Run, batch_size: int) -> int:
    """Bytes of one variant, as the refusal of too few says."""
    with pytest.raises(ValueError, match="memory=1: too small for one variant") as refusal:
        scorer(task, run, batch_size=batch_size, memory=1)
    return int(str(refusal.value).split("about ")[1].split()[0])


def test_on_a_cpu_64_mebibytes_are_taken(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    one = least(tiny_task, runs[0], 64)
    assert scorer(tiny_task, runs[0]).max_rows == 2**26 // one > 1


def test_one_variant_at_a_time_goes_even_where_it_takes_more(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    batch_size = 2 * 2**26 // least(tiny_task, runs[0], 1)  # so many examples that one variant takes twice as much
    assert scorer(tiny_task, runs[0], batch_size=batch_size).max_rows == 1


def test_the_memory_is_that_of_whole_variants(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    one = least(tiny_task, runs[0], 16)
    found = [
        scorer(tiny_task, runs[0], batch_size=16, memory=memory).max_rows for memory in (one, 2 * one - 1, 2 * one, 5 * one)
    ]
    assert found == [1, 1, 2, 5]
