"""The explorer of methods, driven as a reader drives it."""

from __future__ import annotations

import numpy as np
import pytest

from coto_lab import Classification, Recipe
from coto_lab.adapters.methods.oft import OFT
from coto_lab.probes import method_update
from coto_lab.probes.method_update import layer_updates
from coto_lab.widgets import MethodExplorer, method_explorer
from coto_lab.widgets.view import plain

STEPS = 2
RECIPES = {
    "LoRA": Recipe(r=2, alpha=4, steps=8, batch_size=8),
    "PiSSA": Recipe(method="pissa", r=2, alpha=4, steps=8, batch_size=8),
    "OFT": Recipe(method=OFT(block_size=8), steps=8, batch_size=8),
    "IA3": Recipe(method="ia3", steps=8, batch_size=8),
}


@pytest.fixture
def explorer(tiny_task: Classification) -> MethodExplorer:
    return MethodExplorer(tiny_task, RECIPES, STEPS, {"LoRA": 1.0, "OFT": 1.25})


def shown(explorer: MethodExplorer) -> np.ndarray:
    return explorer.figure.data[0].z


def test_it_begins_with_the_first_method_and_the_lowest_layer(explorer: MethodExplorer, tiny_task: Classification) -> None:
    first = next(iter(layer_updates(tiny_task, RECIPES["LoRA"], STEPS).values()))
    np.testing.assert_array_equal(shown(explorer), first.change.float().numpy())
    said = plain(explorer.text.value)
    assert said.startswith("LoRA, rank 2 after 2 steps: ΔW has rank 2 of ")
    assert f"{first.trained:,} numbers of this layer are trained; full fine-tuning trains {first.weight.numel():,}." in said
    assert "With its gate shut in training, the layer computes exactly the pre-trained outputs." in said
    assert said.endswith("A step takes 1.00 times as long as one of LoRA, as measured on the digits.")


def test_another_layer_is_drawn_without_training(explorer: MethodExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(method_explorer, "layer_updates", None)  # would raise
    before = shown(explorer).copy()
    (_, lowest), *_, (label, highest) = explorer.block.options
    explorer.block.value = highest
    assert explorer.update.block == highest != lowest and not np.array_equal(shown(explorer), before)
    assert explorer.figure.layout.annotations[0].text == f"ΔW of query, block {label}"
    explorer.module.value = explorer.module.options[1][1]
    assert explorer.figure.layout.annotations[0].text == f"ΔW of value, block {label}"


def test_another_method_brings_its_own_sizes(explorer: MethodExplorer, tiny_task: Classification) -> None:
    explorer.method.value = "OFT"
    assert (explorer.size.description, explorer.size.value, explorer.size.disabled) == ("block size", 8, False)
    assert explorer.recipe == RECIPES["OFT"]
    assert plain(explorer.text.value).startswith("OFT, block size 8 after 2 steps") and "1.25 times" in explorer.text.value
    explorer.size.value = 4
    assert explorer.recipe.method == OFT(block_size=4)
    expected = next(iter(layer_updates(tiny_task, explorer.recipe, STEPS).values()))
    np.testing.assert_array_equal(shown(explorer), expected.change.float().numpy())
    assert "times as long" not in explorer.text.value, "the time was measured at another size"
    explorer.method.value = "IA3"
    assert (explorer.size.value, explorer.size.disabled) == ("one only", True)
    assert explorer.recipe == RECIPES["IA3"] and plain(explorer.text.value).startswith("IA3 after 2 steps")
    explorer.method.value = "LoRA"
    assert (explorer.size.description, explorer.size.value, explorer.size.disabled) == ("rank", 2, False)


def test_a_choice_is_drawn_once(explorer: MethodExplorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slider of the new method does not draw before its sizes are complete."""
    trained: list[Recipe] = []

    def counted(task: Classification, recipe: Recipe, steps: int):
        trained.append(recipe)
        return method_update.layer_updates(task, recipe, steps)

    monkeypatch.setattr(method_explorer, "layer_updates", counted)
    for name in ("PiSSA", "OFT", "PiSSA"):
        explorer.method.value = name
    assert trained == [RECIPES["PiSSA"], RECIPES["OFT"]]


def test_a_start_that_rewrites_the_base_is_told(explorer: MethodExplorer) -> None:
    explorer.method.value = "PiSSA"
    said = plain(explorer.text.value)
    assert "Before the first step, its outputs differ from the pre-trained ones by less than 0.001% of their norm." in said
    dropped = method_explorer.percent_of(explorer.update.dropped)
    assert f"With its gate shut in training, its outputs differ from the pre-trained ones by {dropped} of" in said


def test_a_training_that_diverges_says_so_and_leaves_the_figure(tiny_task: Classification) -> None:
    wild = Recipe(r=2, steps=8, batch_size=8, lr=1e30)
    explorer = MethodExplorer(tiny_task, {"LoRA": RECIPES["LoRA"], "wild": wild}, steps=4)
    before = shown(explorer).copy()
    explorer.method.value = "wild"
    said = plain(explorer.text.value)
    assert said.startswith("wild, rank 2 is not shown: the loss of step") and said.endswith("The figure is as before.")
    np.testing.assert_array_equal(shown(explorer), before)
    explorer.method.value = "LoRA"
    assert plain(explorer.text.value).startswith("LoRA, rank 2 after 4 steps")


def test_bad_recipes_are_refused(tiny_task: Classification) -> None:
    with pytest.raises(ValueError, match="recipes is empty"):
        MethodExplorer(tiny_task, {})
    with pytest.raises(TypeError, match=r"recipes\['LoRA'\] is a str"):
        MethodExplorer(tiny_task, {"LoRA": "lora"})
    with pytest.raises(ValueError, match="steps=0"):
        MethodExplorer(tiny_task, RECIPES, 0)
