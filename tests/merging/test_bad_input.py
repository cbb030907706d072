"""What a user may give by mistake is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_tasks import gpt2_task, lora_adapters

from coto_lab import Adapter, Evaluator, Run, Variant, merge

GIVE = "give a list of runs, adapters or their folders"


@pytest.mark.parametrize("how", [[0.5, 0.5], None, 3, "average"])
def test_how_is_one_of_two_words(runs: tuple[Run, Run], how: object) -> None:
    with pytest.raises(ValueError, match=r"how=.*: must be 'fuse' .* or 'ensemble' .*Give weights by their name, weights="):
        merge(runs, how)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "weights", [0.5, [0.5], [0.5, 0.25, 0.25], ["a", "b"], "ab", [0.5, None], [0.5, torch.inf], [np.nan, 1]]
)
def test_weights_are_as_many_finite_numbers(runs: tuple[Run, Run], weights: object) -> None:
    with pytest.raises(ValueError, match=r"weights=.*: give one finite number for each of the 2 adapters"):
        merge(runs, weights=weights)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", [tuple, np.array, lambda values: torch.tensor(values, dtype=torch.float64)])
def test_weights_of_any_kind_of_number_do(runs: tuple[Run, Run], kind: object) -> None:
    expected, found = merge(runs, weights=[0.3, 0.7]), merge(runs, weights=kind([0.3, 0.7]))  # type: ignore[operator]
    assert all(torch.equal(tensor, found.tensors[key]) for key, tensor in expected.tensors.items())


def test_adapters_are_a_list(runs: tuple[Run, Run]) -> None:
    one, other = runs
    for wrong, said in (
        (one, "adapters is a Run"),
        (one.adapter, "adapters is a Adapter"),
        ("folder", "adapters is a str"),
        ({"a": one, "b": other}, "adapters is a dict"),
        (None, "adapters is a NoneType"),
        ([one, 3], r"adapters\[1\] is a int"),
        ([one, Variant(other.adapter)], r"adapters\[1\] is a Variant"),
    ):
        with pytest.raises(TypeError, match=f"{said}: {GIVE}"):
            merge(wrong)  # type: ignore[arg-type]


def test_layers_that_store_their_weights_transposed_are_merged_as_others() -> None:
    """GPT-2's ``Conv1D``: only the dense update is transposed, the factors are A and B as ever."""
    task = gpt2_task()
    first, second = lora_adapters(task)
    mixed = merge([first, second], "ensemble", [0.25, 0.75])
    base = task.load_base()
    updates = [adapter.update(base) for adapter in (first, second, mixed)]
    for one, other, both in zip(*(update.values() for update in updates), strict=True):
        torch.testing.assert_close(both, 0.25 * one + 0.75 * other, rtol=1e-4, atol=1e-5)
    evaluator = Evaluator(task)
    alone = merge([first], "ensemble")
    assert isinstance(alone, Adapter)
    torch.testing.assert_close(*evaluator([Variant(first), Variant(alone)]).values["loss"])
