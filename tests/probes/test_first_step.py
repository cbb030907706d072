"""One step of several optimisers, against the algebra of two factors."""

from __future__ import annotations

import pytest
import torch

from coto_lab import Classification, Recipe, Training
from coto_lab.adapters.lora_pro import Factors, equivalent_gradient, project_back
from coto_lab.adapters.methods.lora_pro import LoRAPro
from coto_lab.probes.first_step import FirstSteps, first_steps

LR = 1e-4
RECIPES = {
    "LoRA": Recipe(r=2, alpha=4, steps=8, lr=LR, batch_size=8),
    "LoRA-Pro, SGD": Recipe(method=LoRAPro(form="sgd"), r=2, alpha=4, steps=8, lr=LR, batch_size=8),
}


@pytest.fixture(scope="module")
def module(tiny_task: Classification) -> str:
    return Training(tiny_task, RECIPES["LoRA"]).gates.modules[3]


@pytest.mark.parametrize("after", [0, 4])
def test_lora_pro_moves_the_weight_by_the_nearest_gradient(tiny_task: Classification, module: str, after: int) -> None:
    found = first_steps(tiny_task, RECIPES, module, after)
    assert (found.b == 0).all() == (after == 0)
    factors = Factors.of(found.a, found.b, 1.0)
    expected = -LR * equivalent_gradient(factors, *project_back(factors, found.gradient))
    torch.testing.assert_close(found.changes["LoRA-Pro, SGD"], expected, rtol=0, atol=0.05 * expected.abs().max().item())
    assert found.cosine("LoRA-Pro, SGD") > found.cosine("LoRA") > 0


def test_the_gradient_is_that_of_the_weight(tiny_task: Classification, module: str) -> None:
    """With B = 0 the model is the base, whose weight gets this gradient on the first batch."""
    found = first_steps(tiny_task, RECIPES, module)
    training = Training(tiny_task, RECIPES["LoRA"])
    batch = training._trainee.batch(0)
    base = tiny_task.load_base()
    tiny_task.loss(tiny_task.predict(base, batch), batch).mean().backward()
    torch.testing.assert_close(found.gradient, base.get_submodule(module).weight.grad.double())


def test_adams_first_step_moves_b_alone_by_the_rate(tiny_task: Classification, module: str) -> None:
    found = first_steps(tiny_task, {"LoRA": RECIPES["LoRA"]}, module)
    moved = found.changes["LoRA"] @ torch.linalg.pinv(found.a)  # s times the change of B
    torch.testing.assert_close(moved.abs(), torch.full_like(moved, 2 * LR), rtol=0, atol=0.02 * LR)


def test_the_cosine_is_1_along_the_negative_gradient() -> None:
    gradient = torch.tensor([[3.0, 0.0], [0.0, 4.0]]).double()
    changes = {"down": -2 * gradient, "up": gradient, "half": torch.tensor([[-1.0, 0], [0, 0]]).double()}
    found = FirstSteps(gradient, torch.zeros(1, 2), torch.zeros(2, 1), changes)
    assert [round(found.cosine(name), 6) for name in changes] == [1, -1, 0.6]


def test_bad_arguments_are_refused(tiny_task: Classification, module: str) -> None:
    with pytest.raises(ValueError, match="recipes is empty"):
        first_steps(tiny_task, {}, module)
    with pytest.raises(ValueError, match=r"module='head': no adapter is there; there is one on vit\.layers\.0"):
        first_steps(tiny_task, RECIPES, "head")
    with pytest.raises(ValueError, match="after=-1"):
        first_steps(tiny_task, RECIPES, module, -1)
    with pytest.raises(ValueError, match="s·BA alone"):
        first_steps(tiny_task, {"DoRA": Recipe(method="dora", steps=8, batch_size=8)}, module)
    with pytest.raises(ValueError, match="does not fit the model"):
        first_steps(tiny_task, RECIPES | {"larger": Recipe(r=3, steps=8, batch_size=8)}, module)
