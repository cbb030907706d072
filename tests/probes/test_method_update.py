"""What a method makes of a layer, against matrices made by hand and against the model itself."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from coto_lab import Classification, Recipe, Training
from coto_lab.adapters.methods.boft import BOFT
from coto_lab.adapters.methods.oft import OFT
from coto_lab.adapters.names import PREFIX
from coto_lab.probes.method_update import LayerUpdate, layer_updates, of_size, sizes

RECIPE = Recipe(r=2, alpha=4, steps=8, batch_size=8)


def by_hand(weight: torch.Tensor, change: torch.Tensor) -> LayerUpdate:
    return LayerUpdate("block", weight.double(), change.double(), 0, 0.0, 0.0, 0.0)


def test_rank_and_directions_of_matrices_made_by_hand() -> None:
    weight = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    change = torch.diag(torch.tensor([0.0, 3.0, 0.0, 4.0]))
    found = by_hand(weight, change)
    torch.testing.assert_close(found.singular, torch.tensor([4.0, 3, 0, 0]).double())
    assert found.rank == 2
    torch.testing.assert_close(found.share_in_top, torch.tensor([0, 9 / 25, 9 / 25, 1]).double())


def test_the_share_does_not_depend_on_how_the_space_is_turned() -> None:
    generator = torch.Generator().manual_seed(0)
    turns = [torch.linalg.qr(torch.randn(n, n, generator=generator)).Q for n in (5, 3)]
    weight, change = (torch.randn(5, 3, generator=generator) for _ in range(2))
    turned = by_hand(turns[0] @ weight @ turns[1], turns[0] @ change @ turns[1])
    torch.testing.assert_close(turned.share_in_top, by_hand(weight, change).share_in_top, rtol=0, atol=1e-5)
    u, _, v = torch.linalg.svd(weight, full_matrices=False)
    outside = torch.eye(5) - u @ u.T
    beyond = by_hand(weight, outside @ change @ v.T @ v)
    assert beyond.share_in_top[-1] < 1e-6, "outputs that W cannot reach"


@pytest.mark.parametrize("method", ["lora", "pissa", "dora", "ia3"])
def test_it_is_what_a_training_makes(tiny_task: Classification, method: str) -> None:
    recipe = replace(RECIPE, method=method)
    found = layer_updates(tiny_task, recipe, 3)
    training, base = Training(tiny_task, recipe), tiny_task.load_base()
    trained = {name: parameter.numel() for name, parameter in training.model.named_parameters() if parameter.requires_grad}
    for _ in range(3):
        training.step()
    expected = training.run().adapter.update(base)
    assert list(found) == list(training.gates.modules) and len(found) == 8
    for name, update in found.items():
        assert update.block == name.rsplit(".attention", 1)[0]
        torch.testing.assert_close(update.change, expected[name].double())
        torch.testing.assert_close(update.weight, base.get_submodule(name).weight.detach().double())
        assert update.trained == sum(n for own, n in trained.items() if own.startswith(f"{PREFIX}{name}."))


def test_a_shut_gate_leaves_the_pretrained_layer_unless_the_start_rewrote_it(tiny_task: Classification) -> None:
    lora = layer_updates(tiny_task, RECIPE, 2)
    assert {update.at_start for update in lora.values()} == {update.dropped for update in lora.values()} == {0.0}
    assert all(update.after > 0 for update in lora.values())
    pissa = layer_updates(tiny_task, replace(RECIPE, method="pissa"), 2)
    assert all(update.at_start < 1e-5 for update in pissa.values())
    assert all(update.dropped > 0.05 for update in pissa.values())


def test_the_distance_is_that_of_the_layers_outputs(tiny_task: Classification) -> None:
    """For the first adapted layers, whose inputs are those of the pre-trained model also with all adapters on."""
    found = layer_updates(tiny_task, RECIPE, 3)
    name, update = next(iter(found.items()))
    seen: list[torch.Tensor] = []
    base = tiny_task.load_base().eval()
    layer = base.get_submodule(name)
    layer.register_forward_hook(lambda _, given, output: seen.extend([given[0].detach(), output.detach()]))
    tiny_task.predict(base, tiny_task.batch("test", range(16)))
    inputs, outputs = seen
    moved = inputs.double() @ update.change.T
    assert update.after == pytest.approx((moved.norm() / outputs.norm()).item(), rel=1e-4)


@pytest.mark.parametrize("steps", [0, 9])
def test_steps_that_the_recipe_does_not_have_are_refused(tiny_task: Classification, steps: int) -> None:
    with pytest.raises(ValueError, match="steps=" if steps == 0 else r"steps=9: .*8"):
        layer_updates(tiny_task, RECIPE, steps)


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        (Recipe(r=4), [1, 2, 4, 8, 16, 32, 64]),
        (Recipe(r=100), [1, 2, 4, 8, 16, 32, 64, 100]),
        (Recipe(method="pissa", r=4), [1, 2, 4, 8, 16]),
        (Recipe(method=OFT(block_size=6)), [2, 4, 6, 8]),
        (Recipe(method=BOFT(block_size=4)), [2, 4, 8]),
        (Recipe(method="ia3"), []),
    ],
)
def test_sizes_fit_the_layer(recipe: Recipe, expected: list[int]) -> None:
    assert sizes(recipe, nn.Linear(24, 16)) == expected


def test_another_size_keeps_the_scale_and_the_options() -> None:
    assert of_size(Recipe(r=4, alpha=8), 16) == Recipe(r=16, alpha=32)
    boft = Recipe(method=BOFT(block_size=8, butterfly_factors=2))
    assert of_size(boft, 4) == Recipe(method=BOFT(block_size=4, butterfly_factors=2))
