"""Conflicts between adapters, against numbers worked out by hand and against dense matrices."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from coto_lab import Adapter, Classification, Run, merge
from coto_lab.adapters.names import lora_keys
from coto_lab.probes.conflicts import Conflicts, conflicts
from coto_lab.probes.geometry import geometry


def filled(like: Adapter, rows: dict[str, tuple[Tensor, Tensor]]) -> Adapter:
    """An adapter with these factors in some modules and 0 in all others; the scale is 1."""
    tensors = {name: torch.zeros_like(tensor) for name, tensor in like.tensors.items()}
    for name, (a, b) in rows.items():
        for key, factor in zip(lora_keys(name), (a, b), strict=True):
            tensors[key][: factor.shape[0], : factor.shape[1]] = factor
    return Adapter(like.config | {"lora_alpha": like.config["r"], "use_rslora": False}, tensors, like.base)


@pytest.fixture(scope="module")
def by_hand(tiny_task: Classification, runs: tuple[Run, Run]) -> Conflicts:
    """Two adapters of rank 1 in the first layer: ΔW has the entries [[2, 0], [0, 0]] and [[3, 4], [0, 0]] in a corner."""
    like = runs[0].adapter
    first = next(iter(like.factors()))
    one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    return conflicts(
        tiny_task,
        {
            "a": filled(like, {first: (one, torch.tensor([[2.0]]))}),
            "b": filled(like, {first: (-two, torch.tensor([[-1.0]]))}),
        },
        density=1.0,
    )


def test_two_adapters_by_hand(by_hand: Conflicts) -> None:
    assert by_hand.names == ("a", "b") and len(by_hand.blocks) == 4
    torch.testing.assert_close(by_hand.gram[0], torch.tensor([[4.0, 6], [6, 25]], dtype=torch.float64))
    assert by_hand.norm[0].tolist() == [2, 5] and by_hand.cosine[0, 0, 1] == pytest.approx(0.6)
    assert by_hand.opposed[0].tolist() == [[0, 0], [0, 0]], "the one entry that both change has the same sign in both"
    # ΔW / 4 of both together is [5, 4] / 4; the cross terms are (2 · -[3, 4] - 1 · [1, 0]) / 4 = [-7, -8] / 4.
    assert by_hand.own[0] == pytest.approx(41**0.5 / 4)
    assert by_hand.cross[0] == pytest.approx(113**0.5 / 4)
    assert not by_hand.gram[1:].any() and not by_hand.own[1:].any() and not by_hand.cross[1:].any()
    assert by_hand.opposed[1:].isnan().all(), "where nothing is changed, no share can be said"


def test_opposed_signs_are_counted_among_the_largest_entries_of_both(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    like = runs[0].adapter
    first, (a, b) = next(iter(like.factors().items()))
    out, inputs = len(b), a.shape[1]
    column = torch.ones(out, 1)
    one = torch.arange(1.0, inputs + 1)[None]
    two = one.clone()
    two[0, -1] *= -1  # the largest column has the opposite sign
    pair = {name: filled(like, {first: (row, column)}) for name, row in {"a": one, "b": two}.items()}
    assert conflicts(tiny_task, pair, density=1.0).opposed[0, 0, 1] == pytest.approx(1 / inputs)
    assert conflicts(tiny_task, pair, density=2 / inputs).opposed[0, 0, 1] == pytest.approx(1 / 2)


def test_as_dense_matrices_would_be(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    adapters = {"LoRA": runs[0].adapter, "CoTo": runs[1].adapter}
    found = conflicts(tiny_task, {"LoRA": runs[0], "CoTo": runs[1]})
    fused = merge(list(adapters.values()), "fuse").factors()
    parts = [adapter.factors() for adapter in adapters.values()]
    for i, block in enumerate(found.blocks):
        inside = [name for name in fused if f".{block}." in name]
        assert len(inside) == 2
        one, two, both = (
            torch.cat([(part[name][1] @ part[name][0]).double().flatten() for name in inside]) for part in (*parts, fused)
        )
        close = {"rtol": 1e-5, "atol": 1e-7}
        torch.testing.assert_close(found.norm[i], torch.stack([one.norm(), two.norm()]), **close)
        torch.testing.assert_close(found.cosine[i, 0, 1], torch.cosine_similarity(one, two, dim=0), **close)
        torch.testing.assert_close(found.own[i], ((one + two) / 4).norm(), **close)
        torch.testing.assert_close(found.cross[i], (both - (one + two) / 4).norm(), **close)
    assert torch.equal(found.of_pairs(found.cosine), found.cosine[:, 0, 1:])
    torch.testing.assert_close(found.whole.gram, geometry(adapters).gram, rtol=1e-5, atol=1e-7)


def test_what_does_not_fit_is_refused(tiny_task: Classification, runs: tuple[Run, Run]) -> None:
    pair = {"a": runs[0].adapter, "b": runs[1].adapter}
    with pytest.raises(ValueError, match="at least two"):
        conflicts(tiny_task, {"a": runs[0]})
    with pytest.raises(TypeError, match="give a dict"):
        conflicts(tiny_task, list(runs))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=re.escape("adapters['b'] is a int")):
        conflicts(tiny_task, {"a": runs[0], "b": 3})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match=re.escape("density=0")):
        conflicts(tiny_task, pair, density=0)
    with pytest.raises(ValueError, match="another base model"):
        conflicts(tiny_task, pair | {"b": replace(runs[1].adapter, base="other")})
