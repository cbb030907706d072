"""The gallery that ships: its runs are what its scores say, and the texts quote those scores."""

from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import torch

from coto_lab import Evaluator, Linear, Recipe, Training, Variant, interpolate
from coto_lab.gallery import gallery_scores, load_run

ROOT = Path(__file__).parents[1]
SEEDS = range(5)


@pytest.mark.parametrize("method, recipe", [("lora", Recipe()), ("coto", Recipe(schedule=Linear()))])
def test_every_seed_is_there_finished_and_by_the_recipe_that_it_names(task, method, recipe):
    for seed in SEEDS:
        run = load_run(f"{method}-seed{seed}")
        assert run.recipe == replace(recipe, seed=seed)
        assert len(run.history) == recipe.steps
        assert run.base == task.base
        assert run.adapter.config["base_model_name_or_path"] == "coto_lab/glyph-vit"  # no path of the machine that made it


def test_accuracy_and_fusion_in_the_table_are_those_of_the_runs(task):
    evaluator = Evaluator(task)
    table = gallery_scores()
    for method in ("LoRA", "CoTo"):
        runs = [load_run(f"{method.lower()}-seed{seed}") for seed in SEEDS]
        accuracy = evaluator([Variant(run.adapter) for run in runs]).accuracy * 100
        assert table.loc["all adapters", method] == f"{accuracy.mean():.1f} ± {accuracy.std():.1f}"
        fused = interpolate(task, runs[0], runs[1], alphas=3, evaluator=evaluator).accuracy[1] * 100
        mean, spread = map(float, table.loc["1:1 fusion of two seeds", method].split(" ± "))
        assert abs(fused - mean) < 4 * spread


def test_a_shipped_run_is_what_its_recipe_makes(task):
    shipped = load_run("coto-seed2")
    training = Training(task, shipped.recipe)
    again = [training.step() for _ in range(12)]
    assert all(torch.equal(record.mask, mask) for record, mask in zip(again, shipped.history.mask[:12], strict=True))
    losses = torch.tensor([record.loss for record in again], dtype=torch.float64)
    torch.testing.assert_close(losses, shipped.history.loss[:12], rtol=1e-3, atol=1e-3)  # other machines round otherwise


def test_an_unknown_run_is_refused_and_the_known_ones_are_named():
    with pytest.raises(ValueError, match=r"'coto-seed9'.*coto-seed0, .*lora-seed4"):
        load_run("coto-seed9")


def test_readme_and_tour_quote_the_scores():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for score, row in gallery_scores().iterrows():
        assert f"| {score} | {row['LoRA']} | {row['CoTo']} | {row['n']} |" in readme
    tour = nbformat.read(ROOT / "notebooks" / "00_tour.ipynb", as_version=4)
    outputs = [output["text"] for cell in tour.cells for output in cell.get("outputs", [])]
    assert f"{gallery_scores()}\n" in outputs
