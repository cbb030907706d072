from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import peft
import pytest
import torch
import transformers
from scipy.optimize import nnls
from tiny_hub_models import save_clip

from coto_lab import Constant, Linear, Recipe, Run, Task, Training, attach_gates, fit
from coto_lab.probes.cost import (
    Cost,
    designed_masks,
    fit_cost,
    measure_cost,
    saving_from_history,
    spared,
    steady_saving,
    towers_apart,
    train_in_turns,
    work_of,
)
from coto_lab.training.history import History, Step


def masks_of(*rows: str) -> torch.Tensor:
    """One letter per block from the lowest: x is open."""
    return torch.tensor([[letter == "x" for letter in row] for row in rows])


def cost(fixed: float, backward: float, adapter: float, n_blocks: int = 3) -> Cost:
    return Cost(fixed, backward, adapter, torch.zeros(0, n_blocks, dtype=torch.bool), torch.zeros(0).double())


@pytest.mark.parametrize(
    ("mask", "seconds"),
    [
        ("xxx", 1 + 30 + 300),
        ("..x", 1 + 10 + 100),
        (".x.", 1 + 20 + 100),
        ("x..", 1 + 30 + 100),
        ("x.x", 1 + 30 + 200),
        ("...", 1),
    ],
)
def test_a_step_costs_its_open_blocks_and_those_above_the_lowest(mask: str, seconds: float) -> None:
    predicted = cost(1, 10, 100).step(masks_of(mask))
    assert predicted.tolist() == [seconds] and predicted.dtype == torch.float64


def test_the_parts_of_a_step() -> None:
    masks = masks_of("xxx", "..x", ".x.")
    assert cost(1, 10, 100).parts(masks).tolist() == [[1, 30, 300], [1, 10, 100], [1, 20, 100]]


def test_spared_work_is_that_of_dropped_adapters_and_of_blocks_below_the_lowest_open_one() -> None:
    masks = torch.tensor([[1, 1, 1, 1], [0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 1, 1]]).bool()
    assert spared(masks) == (1 - 9 / 16, 1 - (4 + 2 + 4 + 3) / 16)
    with pytest.raises(ValueError, match="masks must be a BoolTensor"):
        spared(masks.float())
    towers = torch.tensor([0, 0, 1, 1])
    assert spared(masks, towers) == (1 - 9 / 16, 1 - (4 + 2 + 2 + 3) / 16), "each tower has a lowest open block of its own"


def test_towers_that_meet_in_the_loss_alone_are_counted_apart(tmp_path: Path) -> None:
    """The oracle is autograd: which blocks of CLIP have activations with gradients."""
    model = transformers.AutoModel.from_pretrained(save_clip(tmp_path))
    model = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj"]))
    gates = attach_gates(model)
    towers = towers_apart(model, gates.towers)
    assert towers is not None and towers.tolist() == [0, 0, 1, 1, 1]
    reached: list[str] = []
    layers = [module for name, module in model.named_modules() if re.search(r"layers\.\d$", name)]
    for layer in layers:
        layer.register_forward_hook(
            lambda _module, _given, out: (
                reached.append("block") if getattr(out, "requires_grad", out[0].requires_grad) else None
            )
        )
    for mask in ([0, 1, 0, 0, 1], [1, 0, 0, 1, 0], [1, 1, 1, 1, 1]):
        reached.clear()
        gates.train_with(torch.tensor(mask).bool())
        model(input_ids=torch.ones(1, 4, dtype=torch.long), pixel_values=torch.zeros(1, 3, 8, 8))
        assert work_of(torch.tensor([mask]).bool(), towers)[0, 1] == len(reached)
    seq = transformers.T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2)
    model = peft.get_peft_model(transformers.T5ForConditionalGeneration(seq), peft.LoraConfig(r=2, target_modules=["q"]))
    assert towers_apart(model, attach_gates(model).towers) is None, "the gradient of the encoder comes through the decoder"


def test_saving_is_a_share_of_the_all_open_time() -> None:
    model = cost(1, 10, 100)  # 331 s a step with all open
    assert model.saving(masks_of("xxx", "xxx")) == pytest.approx(0)
    assert model.saving(masks_of("..x")) == pytest.approx(1 - 111 / 331)
    assert model.saving(masks_of("..x", "xxx", ".x.", "x.x")) == pytest.approx(1 - (111 + 331 + 121 + 231) / (4 * 331))


def test_the_designed_masks_of_a_few_blocks() -> None:
    expected = {"x..", ".x.", "..x", ".xx", "xxx"}
    found = {"".join("x" if is_open else "." for is_open in row) for row in designed_masks(3).tolist()}
    assert found == expected and designed_masks(32).shape == (11, 32)


@pytest.mark.parametrize("n_blocks", [2, 3, 8, 32])
def test_the_designed_masks_tell_the_constants_apart(n_blocks: int) -> None:
    masks = designed_masks(n_blocks)
    assert masks.any(1).all() and masks.all(1).any()
    fitted = fit_cost(masks, cost(0.03, 0.002, 0.001, n_blocks).step(masks))
    assert (fitted.fixed, fitted.backward, fitted.adapter) == pytest.approx((0.03, 0.002, 0.001))
    assert fitted.n_blocks == n_blocks


def test_noisy_seconds_are_fitted_by_non_negative_least_squares() -> None:
    masks = torch.tensor(list(product([False, True], repeat=4))[1:])
    noise = torch.randn(len(masks), dtype=torch.float64, generator=torch.Generator().manual_seed(0)) / 4
    for true in ((2, 0.5, 0.3), (2, 0, 0.3)):
        seconds = cost(*true, n_blocks=4).step(masks) + noise
        reached = [4 - row.index(True) for row in masks.tolist()]
        oracle, _ = nnls([[1, up, sum(row)] for up, row in zip(reached, masks.tolist(), strict=True)], seconds.numpy())
        fitted = fit_cost(masks, seconds)
        assert [fitted.fixed, fitted.backward, fitted.adapter] == pytest.approx(oracle.tolist())
        assert (oracle >= 0).all()


def test_frame_sets_measured_beside_predicted() -> None:
    masks = masks_of("xxx", "..x", ".x.", "x.x")
    seconds = torch.tensor([331.0, 111, 121, 235], dtype=torch.float64)
    fitted = fit_cost(masks, seconds)
    frame = fitted.frame()
    assert frame[["open", "backward"]].to_numpy().tolist() == [[3, 3], [1, 1], [1, 2], [2, 3]]
    assert frame["measured"].tolist() == seconds.tolist() and frame["predicted"].tolist() == fitted.step(masks).tolist()


@pytest.mark.parametrize("method", ["lora", "dora", "hira"])
def test_measured_constants_are_of_real_steps(tiny_task: Task, method: str) -> None:
    state = torch.get_rng_state()
    measured = measure_cost(tiny_task, Recipe(method, r=2, batch_size=8, schedule=Linear()), steps=15)
    constants = (measured.fixed, measured.backward, measured.adapter)
    assert all(math.isfinite(value) and value >= 0 for value in constants) and max(constants) > 0
    assert torch.equal(measured.masks, designed_masks(4)) and measured.n_blocks == 4
    assert measured.seconds.shape == (7,) and (measured.seconds > 0).all()
    assert torch.equal(state, torch.get_rng_state())


def test_medians_are_of_the_steps_with_that_mask_without_the_first_round(
    tiny_task: Task, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Step] = []

    def timed(training: Training) -> float:
        drawn.append(training.step())
        return float((len(drawn) - 1) ** 2)  # instead of the clock, so that no two steps last alike

    monkeypatch.setattr("coto_lab.probes.cost.timed_step", timed)
    measured = measure_cost(tiny_task, recipe, steps=27, seed=3)
    designed = measured.masks.tolist()
    order = [designed.index(step.mask.tolist()) for step in drawn]
    rounds = [order[start : start + 7] for start in (0, 7, 14)]
    assert len(order) == 21 and all(sorted(taken) == list(range(7)) for taken in rounds) and rounds[0] != rounds[1]
    assert all(torch.equal(step.grad_norm > 0, step.mask) for step in drawn)
    lasted = [[step**2 for step in range(7, 21) if order[step] == mask] for mask in range(7)]
    assert measured.seconds.tolist() == [sum(pair) / 2 for pair in lasted]  # the median of two


def test_turns_are_the_trainings_that_each_would_be_alone(tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run]) -> None:
    plain = replace(recipe, schedule=Constant())
    histories = train_in_turns(tiny_task, {"CoTo": recipe, "LoRA": plain})
    assert list(histories) == ["CoTo", "LoRA"]
    for name, alone in (("CoTo", runs[0]), ("LoRA", fit(tiny_task, plain, progress=False))):
        assert torch.equal(histories[name].loss, alone.history.loss) and torch.equal(histories[name].mask, alone.history.mask)


def test_the_measured_saving_is_that_of_the_sums(runs: tuple[Run, Run]) -> None:
    history = runs[0].history
    quick, slow = (replace(history, seconds=torch.full((16,), s, dtype=torch.float64)) for s in (0.03, 0.04))
    assert saving_from_history(quick, slow) == pytest.approx(0.25)
    assert saving_from_history(slow, quick) == pytest.approx(-1 / 3)


def test_hiccups_and_changes_of_pace_do_not_count_in_the_steady_saving() -> None:
    """Steps of two kinds, 1 s and 2 s, beside 2 s: a quarter saved, though the machine halts twice and slows down midway."""

    def history(seconds: list[float], *masks: str) -> History:
        ones = torch.ones(len(seconds), dtype=torch.float64)
        timed, norms = torch.tensor(seconds, dtype=torch.float64), torch.zeros(len(seconds), 2)
        return History(("a", "b"), ("a.q", "b.q"), torch.arange(2), ones, ones, ones, timed, masks_of(*masks), norms)

    coto = history([1, 1, 9, 4, 4, 4], *[".x"] * 3, *["xx"] * 3)
    plain = history([2, 2, 2, 4, 4, 30], *["xx"] * 6)
    assert steady_saving(coto, plain) == pytest.approx(0.25)
    with pytest.raises(ValueError, match="lora_history has dropped blocks"):
        steady_saving(plain, coto)


def test_bad_input_is_refused(tiny_task: Task, recipe: Recipe, runs: tuple[Run, Run]) -> None:
    model = cost(1, 10, 100)
    for masks in (torch.ones(2, 3), torch.ones(3, dtype=torch.bool), masks_of("xx"), torch.ones(0, 3, dtype=torch.bool), "xxx"):
        with pytest.raises(ValueError, match=r"masks must be a BoolTensor \[T, 3\]"):
            model.saving(masks)
    with pytest.raises(ValueError, match=r"seconds has shape \[2\]: give one number for each of the 1 masks"):
        fit_cost(masks_of("xxx"), torch.ones(2))
    with pytest.raises(ValueError, match="masks do not determine the three constants"):
        fit_cost(masks_of("xxx", ".xx", "..x"), torch.ones(3))
    with pytest.raises(ValueError, match=r"steps=13: give at least 14, two rounds of the 7 masks"):
        measure_cost(tiny_task, recipe, steps=13)
    with pytest.raises(ValueError, match=r"recipes must be .* got steps=\[16, 17\]"):
        train_in_turns(tiny_task, {"a": recipe, "b": replace(recipe, steps=17)})
    with pytest.raises(ValueError, match=r"recipes must be .* got steps=\[\]"):
        train_in_turns(tiny_task, {})
    shorter = train_in_turns(tiny_task, {"a": replace(recipe, steps=1)})["a"]
    for saving in (saving_from_history, steady_saving):
        with pytest.raises(ValueError, match="histories of 16 and 1 steps"):
            saving(runs[0].history, shorter)
