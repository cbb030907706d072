"""The checks find what readers do wrong, and let through what is right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from coto_lab import Adapter, Evaluator, Linear, Recipe, Training, Variant, load_task
from coto_lab.exercises import training as exercises
from coto_lab.probes.gradients import gradient_share
from coto_lab.studies.gallery import load_run, load_runs

check_losses = exercises.check_losses.__wrapped__  # what they find, before it is printed
check_turned_down = exercises.check_turned_down.__wrapped__
check_late_shares = exercises.check_late_shares.__wrapped__

DONE = 8


@pytest.fixture(scope="module")
def early() -> tuple[Training, Evaluator]:
    task = load_task("digits")
    task = replace(task, train=task.train.select(range(40)))  # each check scores all of it
    training = Training(task, Recipe(schedule=Linear(), steps=40))
    for _ in range(DONE):
        training.step()
    return training, Evaluator(task.every(25))


def losses(early: tuple[Training, Evaluator], masks: slice, split: str = "train") -> tuple[float, torch.Tensor]:
    """As the notebook's solution has them."""
    training, evaluator = early
    adapter = Adapter.from_model(training.model)
    drawn = [Variant(adapter, mask) for mask in training.coto.masks()[masks]]
    return evaluator([Variant(adapter)], split=split).loss.item(), evaluator(drawn, split=split).loss


@pytest.mark.slow
def test_the_losses_of_the_solution_pass(early: tuple[Training, Evaluator]) -> None:
    whole, drawn = losses(early, slice(DONE, DONE + 20))
    assert check_losses(whole, drawn.mean().item(), *early) == []
    assert check_losses(torch.tensor(whole), drawn.mean(), *early) == []
    for decimals in (1, 2):
        assert check_losses(round(whole, decimals), round(drawn.mean().item(), decimals), *early) == []
    assert exercises.open_and_drawn_loss(*early) == pytest.approx((whole, drawn.mean().item()), rel=1e-5)


@pytest.mark.slow
def test_wrong_losses_are_named(early: tuple[Training, Evaluator]) -> None:
    whole, drawn = losses(early, slice(DONE, DONE + 20))
    mean = drawn.mean().item()
    on_test, drawn_on_test = losses(early, slice(DONE, DONE + 20), split="test")
    first = losses(early, slice(0, 20))[1].mean().item()
    accuracy = early[1]([Variant(Adapter.from_model(early[0].model))], split="train").accuracy.item()

    assert ["test images" in said for said in check_losses(on_test, mean, *early)] == [True]
    assert ["test images" in said for said in check_losses(whole, drawn_on_test.mean().item(), *early)] == [True]
    assert ["accuracy" in said for said in check_losses(accuracy, mean, *early)] == [True]
    assert ["first 20 steps" in said for said in check_losses(whole, first, *early)] == [True]
    assert ["take the mean" in said for said in check_losses(whole, drawn.sum().item(), *early)] == [True]
    assert ["one number" in said for said in check_losses(whole, drawn, *early)] == [True]
    assert ["my_as_drawn = 9 is not right" in said for said in check_losses(whole, 9.0, *early)] == [True]
    swapped = check_losses(mean, whole, *early)
    assert "my_all_open" in swapped[0] and "without a mask has all gates open" in swapped[0]
    assert "my_as_drawn" in swapped[1] and "give each Variant its mask" in swapped[1]


def scaled(part: str, by: Callable[[float], float] = lambda factor: factor) -> Callable[[Adapter, float], Adapter]:
    def turned_down(adapter: Adapter, factor: float) -> Adapter:
        return replace(adapter, tensors={n: by(factor) * t if part in n else t for n, t in adapter.tensors.items()})

    return turned_down


def in_place(adapter: Adapter, factor: float) -> Adapter:
    for tensor in adapter.tensors.values():
        tensor.mul_(factor)
    return adapter


WRONG_FACTORS = {
    "gets the factor twice": scaled(""),
    "ΔW is as before": scaled("lora_C"),
    "divided by the factor": scaled("lora_B", lambda factor: 1 / factor),
    "halved whatever the factor is": scaled("lora_B", lambda factor: 0.5),
    "a quarter whatever the factor is": scaled("", lambda factor: 0.5),
    "not the factor times": scaled("lora_A", lambda factor: -factor),
    "ΔW is right in 1 of 24 maps": scaled("layers.0.attention.q_proj.lora_B"),
    "is changed: make new tensors": in_place,
    "not an Adapter": lambda adapter, factor: adapter.tensors,
    "same tensors": lambda adapter, factor: replace(adapter, tensors=dict([*adapter.tensors.items()][1:])),
}


@pytest.mark.parametrize("part", ["lora_A", "lora_B"])
def test_turning_down_one_of_the_factors_is_right(part: str) -> None:
    assert check_turned_down(scaled(part), load_run("coto-seed0").adapter) == []


@pytest.mark.parametrize("complaint", WRONG_FACTORS)
def test_a_wrong_way_to_turn_down_is_named(complaint: str) -> None:
    adapter = load_run("coto-seed0").adapter
    kept = {name: tensor.clone() for name, tensor in adapter.tensors.items()}
    (found,) = check_turned_down(WRONG_FACTORS[complaint], adapter)
    assert complaint in found
    assert all(torch.equal(kept[name], tensor) for name, tensor in adapter.tensors.items()), "the next cells need it"


def test_late_shares() -> None:
    gallery = {method: load_runs(method)[:2] for method in ("LoRA", "CoTo")}

    def shares(steps: slice, row: int = 0, unit: float = 100) -> dict[str, list[float]]:
        norms = {method: [run.history.grad_norm[steps] for run in runs] for method, runs in gallery.items()}
        return {m: [unit * gradient_share(norm, len(norm), bins=1)[row, 0].item() for norm in own] for m, own in norms.items()}

    right = shares(slice(600, 800))
    assert check_late_shares(right, gallery) == []
    assert check_late_shares({method: torch.tensor(own) for method, own in right.items()}, gallery) == []
    assert check_late_shares({method: [round(share, 1) for share in own] for method, own in right.items()}, gallery) == []
    wrong = {
        "multiply by 100": shares(slice(600, 800), unit=1),
        "of the whole training": shares(slice(0, 800)),
        "of the first quarter": shares(slice(0, 200)),
        "row 0 is the lowest": shares(slice(600, 800), row=-1),
        "2 numbers, one for each seed": {method: own[0] for method, own in right.items()},
        "furthest off": {method: [share + 5 for share in own] for method, own in right.items()},
    }
    for complaint, answer in wrong.items():
        assert [complaint in said for said in check_late_shares(answer, gallery)] == [True, True], complaint
    assert "the keys 'LoRA', 'CoTo'" in check_late_shares([1.0], gallery)[0]
