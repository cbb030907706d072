from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import adapted, vit
from torch import nn
from torch.nn.utils import prune as torch_prune

from coto_lab import Adapter, Evaluator, Run, Task, Variant
from coto_lab.probes.sparsity import magnitude_prune, sparsity_curve


def small(**tensors: list[list[float]]) -> Adapter:
    return Adapter({}, {f"layer.lora_{key}.weight": torch.tensor(value) for key, value in tensors.items()})


def entries(adapter: Adapter) -> list[list[list[float]]]:
    return [tensor.tolist() for tensor in adapter.tensors.values()]


@pytest.mark.parametrize("sparsity", [0.0, 0.13, 0.5, 0.77, 1.0])
@pytest.mark.parametrize("per", ["adapter", "tensor"])
def test_zeros_are_those_of_torch(runs: tuple[Run, Run], per: str, sparsity: float) -> None:
    adapter = runs[0].adapter
    holders = {name: nn.Module() for name in adapter.tensors}
    for name, tensor in adapter.tensors.items():
        holders[name].weight = nn.Parameter(tensor.clone())
    if per == "adapter":
        pairs = [(holder, "weight") for holder in holders.values()]
        torch_prune.global_unstructured(pairs, torch_prune.L1Unstructured, amount=sparsity)
    else:
        for holder in holders.values():
            torch_prune.l1_unstructured(holder, "weight", amount=sparsity)
    pruned = magnitude_prune(adapter, sparsity, per)
    assert pruned.config == adapter.config and pruned.tensors.keys() == adapter.tensors.keys()
    for name, holder in holders.items():
        assert torch.equal(pruned.tensors[name], holder.weight)


def test_by_hand() -> None:
    adapter = small(A=[[3.0, -1.0, 0.5]], B=[[-10.0], [2.0], [20.0]])
    before = entries(adapter)
    assert entries(magnitude_prune(adapter, 0.5)) == [[[3, 0, 0]], [[-10], [0], [20]]]
    assert entries(magnitude_prune(adapter, 0.7)) == [[[0, 0, 0]], [[-10], [0], [20]]]  # round(4.2) of 6
    assert entries(magnitude_prune(adapter, 1 / 3, per="tensor")) == [[[3, -1, 0]], [[-10], [0], [20]]]
    assert entries(magnitude_prune(adapter, np.float32(1), per="tensor")) == [[[0, 0, 0]], [[0], [0], [0]]]
    assert entries(adapter) == before


@pytest.mark.parametrize("n_zeros", range(0, 5001, 1000))
def test_of_equals_the_first_go(n_zeros: int) -> None:
    # Long enough for a sort that is not stable to show; 5,000 entries of magnitude 1.
    signs = torch.ones(50, 100)
    signs[::2] = -1
    pruned = magnitude_prune(Adapter({}, {"layer.lora_A.weight": signs}), n_zeros / 5000)
    kept = pruned.tensors["layer.lora_A.weight"].flatten() != 0
    assert kept.tolist() == [False] * n_zeros + [True] * (5000 - n_zeros)


@pytest.mark.parametrize("method", ["LoRA", "DoRA", "HiRA"])
def test_only_the_factors_are_pruned(method: str) -> None:
    adapter = Adapter.from_model(adapted(method, vit()))
    pruned = magnitude_prune(adapter, 1.0)
    magnitudes = [name for name in adapter.tensors if "magnitude" in name]
    assert len(magnitudes) == (6 if method == "DoRA" else 0)
    for name, tensor in pruned.tensors.items():
        assert torch.equal(tensor, adapter.tensors[name]) if name in magnitudes else not tensor.any()


def test_curve_goes_from_the_run_to_the_base(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator) -> None:
    curve = sparsity_curve(tiny_task, runs[0], per="tensor", evaluator=evaluator)
    assert curve.sparsity.tolist() == [i / 10 for i in range(11)]
    closed = torch.zeros(4, dtype=torch.bool)
    ends = evaluator([Variant(runs[0].adapter), Variant(runs[0].adapter, closed)])
    torch.testing.assert_close(curve.loss[[0, -1]], ends.loss, rtol=1e-6, atol=1e-7)
    assert curve.accuracy[[0, -1]].tolist() == ends.accuracy.tolist()
    assert len(set(curve.loss.tolist())) == 11


def test_small_factors_go_first_unless_each_gives_its_share() -> None:
    adapter = small(A=[[3.0, -5.0]], B=[[0.1], [0.2]])
    assert entries(magnitude_prune(adapter, 0.5)) == [[[3, -5]], [[0], [0]]]  # ΔW = BA is 0
    assert entries(magnitude_prune(adapter, 0.5, per="tensor")) == [[[0, -5]], [[0], [pytest.approx(0.2)]]]


@pytest.mark.parametrize("per", ["adapter", "tensor"])
def test_curve_scores_the_pruned_adapters(tiny_task: Task, runs: tuple[Run, Run], evaluator: Evaluator, per: str) -> None:
    curve = sparsity_curve(tiny_task, runs[1], [0.4, 0.8], per, evaluator)
    expected = evaluator([Variant(magnitude_prune(runs[1].adapter, share, per)) for share in (0.4, 0.8)])
    assert curve.frame().to_dict("list") == {
        "sparsity": [0.4, 0.8],
        "accuracy": expected.accuracy.tolist(),
        "loss": expected.loss.tolist(),
    }


@pytest.mark.parametrize("sparsity", [-0.1, 1.01, float("nan"), float("inf"), "0.5", True, None])
def test_a_sparsity_outside_0_to_1_is_refused(runs: tuple[Run, Run], sparsity: object) -> None:
    with pytest.raises(ValueError, match="sparsity="):
        magnitude_prune(runs[0].adapter, sparsity)


@pytest.mark.parametrize("sparsities", [[], [-0.1, 0.5], [0, 1.1], [0.5, 0.2], [0.5, 0.5], [0, float("nan")]])
def test_bad_sparsities_are_refused(tiny_task: Task, runs: tuple[Run, Run], sparsities: list[float]) -> None:
    with pytest.raises(ValueError, match=r"sparsities=\[.*must be shares in \[0, 1\]"):
        sparsity_curve(tiny_task, runs[0], sparsities)


def test_other_bad_input_is_refused(tiny_task: Task, runs: tuple[Run, Run]) -> None:
    with pytest.raises(ValueError, match="per='block': must be 'adapter'"):
        magnitude_prune(runs[0].adapter, 0.5, per="block")
    with pytest.raises(ValueError, match="no factors A and B"):
        magnitude_prune(Adapter.from_model(adapted("IA3", vit())), 0.5)
    with pytest.raises(ValueError, match="run was trained on another base model"):
        sparsity_curve(tiny_task, replace(runs[0], base="other"))
    with pytest.raises(ValueError, match="run was trained on task 'other', not on 'tiny'"):
        sparsity_curve(tiny_task, replace(runs[0], task="other"))
