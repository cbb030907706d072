"""The gallery that ships: its runs are what its scores say, and the texts quote those scores."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
import torch

from coto_lab import Adapter, Evaluator, Recipe, Task, Training, Variant, interpolate, load_task
from coto_lab.studies import gallery
from coto_lab.studies.gallery import (
    METHODS,
    RATES,
    SEEDS,
    SWEPT,
    checked_folder,
    gallery_scores,
    load_adapters,
    load_run,
    load_runs,
    load_sweep,
    manifest,
    planned_runs,
    run_name,
    sha256,
    task_of,
)
from coto_lab.studies.glyph_diffusion import FOLDER as DIFFUSION
from coto_lab.studies.legs import DOCSTRINGS, LEGS, STRINGS, Leg
from coto_lab.studies.task_sets import FOLDER as MERGING
from coto_lab.studies.variants import FOLDER as VARIANTS

ROOT = Path(__file__).parents[2]
GALLERY = ROOT / "data" / "gallery"


# --- What is there ---------------------------------------------------------------------------------------------------------


def test_the_manifest_holds_every_planned_run_and_nothing_else(task: Task) -> None:
    planned, content = planned_runs(), manifest()
    of_legs = sum(len(leg.tasks) * len(leg.methods) for leg in LEGS.values()) * len(SEEDS)
    assert len(planned) == of_legs + len(SWEPT) * (len(RATES) - 1) * len(SEEDS)
    assert list(content["runs"]) == list(planned)
    for name, recipe in planned.items():
        about = content["runs"][name]
        assert (Recipe.from_json(about["recipe"]), about["seed"]) == (recipe, recipe.seed)
        assert about["sha256"] == {path.name: sha256(path) for path in (GALLERY / name).iterdir()}
    folders = {str(path.parent.relative_to(GALLERY)) for path in GALLERY.rglob("adapter_model.safetensors")}
    others = tuple(f"{folder}/" for folder in (VARIANTS, MERGING, DIFFUSION))  # they have tables of their own
    assert {folder for folder in folders if not folder.startswith(others)} == planned.keys()
    assert content["tasks"] == [name for leg in LEGS.values() for name in leg.tasks]
    bases = {f"{leg.base}/model.safetensors": load_task(leg.tasks[0]).base for leg in LEGS.values()}
    assert content["base"] == bases and task.base in bases.values() and len(bases) == 3
    assert content["versions"].keys() == {"coto_lab", "torch", "transformers", "peft"}


def test_it_is_small() -> None:
    # The runs are 17 MB. The variants of LoRA are 6: of each method the adapters of one seed, with and without CoTo, on two
    # legs. Those of RandLoRA are 2.5 of these 6, since PEFT saves its random matrices, too. The adapters
    # that are merged are 4: of nine tasks and two joint trainings, with LoRA and with CoTo, five seeds each.
    assert sum(path.stat().st_size for path in GALLERY.rglob("*") if path.is_file()) < 28e6


@pytest.mark.parametrize("method", METHODS)
def test_every_seed_is_there_finished_and_by_the_recipe_that_it_names(task: Task, method: str) -> None:
    for seed, run in zip(SEEDS, load_runs(method), strict=True):
        assert run.recipe == replace(METHODS[method], seed=seed)
        assert len(run.history) == run.recipe.steps
        assert run.base == task.base
        assert run.adapter.config["base_model_name_or_path"] == "coto_lab/glyph-vit"  # no path of the machine that made it


@pytest.mark.parametrize("method", SWEPT)
def test_the_sweep_has_all_seeds_at_every_rate(method: str) -> None:
    first = [load_sweep(method, lr)[0].tensors for lr in RATES]
    key = next(iter(first[0]))
    assert all(len(load_sweep(method, lr)) == len(SEEDS) for lr in RATES)
    assert len({tuple(tensors[key].flatten().tolist()) for tensors in first}) == len(RATES)
    shared = load_sweep(method, METHODS[method].lr)
    for adapter, run in zip(shared, load_runs(method), strict=True):
        assert all(torch.equal(adapter.tensors[key], tensor) for key, tensor in run.adapter.tensors.items())


def test_names() -> None:
    assert run_name("CoTo sine", 1) == "coto-sine-seed1"
    assert run_name("CoTo", 1, 0.0025) == "sweep/coto-lr0.0025-seed1"
    assert run_name("CoTo sine", 1, task="strings/rotate-back") == "strings/rotate-back/coto-sine-seed1"
    assert task_of("strings/rotate-back/coto-sine-seed1") == "strings/rotate-back"
    assert task_of(run_name("CoTo sine", 1, task="docstrings")) == "docstrings"
    assert task_of("coto-sine-seed1") == task_of("sweep/coto-lr0.0025-seed1") == "digits"


# --- What it scores --------------------------------------------------------------------------------------------------------


def test_accuracy_and_fusion_in_manifest_and_table_are_those_of_the_runs(task: Task) -> None:
    evaluator = Evaluator(task)
    table, about = gallery_scores(), manifest()["runs"]
    for method in SWEPT:
        runs = load_runs(method)
        scores = evaluator([Variant(run.adapter) for run in runs])
        for seed, accuracy, loss in zip(SEEDS, scores.accuracy.tolist(), scores.loss.tolist(), strict=True):
            assert about[run_name(method, seed)]["accuracy"] == pytest.approx(accuracy, abs=1e-6)
            assert about[run_name(method, seed)]["loss"] == pytest.approx(loss, abs=1e-4)
        accuracy = scores.accuracy * 100
        assert table.loc["all adapters", method] == f"{accuracy.mean():.1f} ± {accuracy.std():.1f}"
        fused = interpolate(task, runs[0], runs[1], alphas=3, evaluator=evaluator).accuracy[1] * 100
        mean, spread = map(float, table.loc["1:1 fusion of two seeds", method].split(" ± "))
        assert abs(fused - mean) < 4 * spread


def test_a_shipped_run_is_what_its_recipe_makes(task: Task) -> None:
    shipped = load_run("coto-seed2")
    training = Training(task, shipped.recipe)
    again = [training.step() for _ in range(12)]
    assert all(torch.equal(record.mask, mask) for record, mask in zip(again, shipped.history.mask[:12], strict=True))
    losses = torch.tensor([record.loss for record in again], dtype=torch.float64)
    torch.testing.assert_close(losses, shipped.history.loss[:12], rtol=1e-3, atol=1e-3)  # other machines round otherwise


def test_readme_and_tour_quote_the_scores() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for score, row in gallery_scores().iterrows():
        assert f"| {score} | {row['LoRA']} | {row['CoTo']} | {row['n']} |" in readme
    tour = nbformat.read(ROOT / "notebooks" / "00_tour.ipynb", as_version=4)
    outputs = [output["text"] for cell in tour.cells for output in cell.get("outputs", [])]
    assert f"{gallery_scores()}\n" in outputs


@pytest.mark.parametrize("leg, name", [(leg, name) for leg in (STRINGS, DOCSTRINGS) for name in leg.tasks])
def test_adapters_score_what_the_manifest_says(leg: Leg, name: str) -> None:
    task, about = load_task(name), manifest()["runs"]
    for method in leg.methods:
        adapters = load_adapters(method, name)
        assert {tensor.dtype for adapter in adapters for tensor in adapter.tensors.values()} == {torch.float32}
        assert {adapter.base for adapter in adapters} == {task.base}
        if (leg, method) in ((STRINGS, "LoRA"), (STRINGS, "CoTo"), (DOCSTRINGS, "CoTo")):
            scores = Evaluator(task)([Variant(adapter) for adapter in adapters])
            for seed, accuracy, loss in zip(SEEDS, scores.accuracy.tolist(), scores.loss.tolist(), strict=True):
                found = about[run_name(method, seed, task=name)]
                assert found["accuracy"] == pytest.approx(accuracy, abs=1 / 200 + 1e-6)  # other machines round otherwise
                assert found["loss"] == pytest.approx(loss, abs=1e-3)


def test_blocks_shares_of_the_gradient() -> None:
    for name, about in manifest()["runs"].items():
        assert ("gradient" in about) == (task_of(name) != "digits")
        for found in about.get("gradient", {}).values():
            share = torch.tensor(found["share"], dtype=torch.float64)
            entropy = -(share * share.log()).sum() / torch.tensor(float(len(share))).log()
            assert share.sum() == pytest.approx(1, abs=1e-4) and found["entropy"] == pytest.approx(entropy.item(), abs=1e-4)


def test_the_adapters_of_the_digits_are_those_of_its_runs() -> None:
    for adapter, run in zip(load_adapters("CoTo"), load_runs("CoTo"), strict=True):
        assert all(torch.equal(adapter.tensors[name], tensor) for name, tensor in run.adapter.tensors.items())


# --- What is refused -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("load", "message"),
    [
        (lambda: load_run("coto-seed9"), r"name='coto-seed9': no such run .* there is lora-seed0, .*coto-exponential-seed4"),
        (lambda: load_run("sweep/coto-lr0.02-seed0"), "no such run in the gallery"),  # an adapter without a history
        (lambda: load_runs("coto"), r"method='coto': not in the gallery; there is 'LoRA', .*'CoTo exponential'"),
        (lambda: load_adapters("coto", "strings/rotate-back"), r"method='coto', task='strings/rotate-back': .* 'CoTo sine'"),
        (lambda: load_adapters("CoTo", "strings/nothing"), r"task='strings/nothing': not in the gallery; .* on 'digits', 'str"),
        (lambda: load_sweep("dropout", 0.01), r"method='dropout', lr=0\.01: the sweep has LoRA, CoTo at 0\.001, .*0\.04"),
        (lambda: load_sweep("CoTo", 0.03), r"lr=0\.03: the sweep has"),
        (lambda: checked_folder("nothing"), "name='nothing': no such run in the gallery's manifest"),
    ],
)
def test_what_is_not_there_is_refused_and_what_is_there_named(load, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load()


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gallery to break."""
    shutil.copytree(GALLERY, tmp_path / "gallery")
    monkeypatch.setattr(gallery, "data_path", tmp_path.joinpath)
    return tmp_path / "gallery"


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_config.json", "history.safetensors", "run.json"])
@pytest.mark.parametrize("how", ["changed", "missing"])
def test_a_file_that_is_not_the_one_that_was_made_is_named(copied: Path, file: str, how: str) -> None:
    path = copied / "coto-seed1" / file
    if how == "changed":
        content = bytearray(path.read_bytes())
        content[-2] ^= 1
        path.write_bytes(content)
    else:
        path.unlink()
    with pytest.raises(ValueError, match=f"'{path}' is not the file that the gallery was made with") as refusal:
        load_run("coto-seed1")
    assert ("SHA-256 missing" in str(refusal.value)) == (how == "missing")
    with pytest.raises(ValueError, match=str(path)):
        load_runs("CoTo")
    assert load_run("coto-seed2").recipe.seed == 2


def test_a_file_of_the_sweep_is_checked_too_and_a_missing_folder_named(copied: Path) -> None:
    name = run_name("LoRA", 3, RATES[0])
    shutil.rmtree(copied / name)
    with pytest.raises(ValueError, match=f"'{copied / name}/adapter_.*' is not the file .*SHA-256 missing"):
        load_sweep("LoRA", RATES[0])


def test_a_run_that_the_manifest_does_not_know_is_refused(copied: Path) -> None:
    content = manifest()
    names = "coto-seed1", run_name("LoRA", 3, RATES[0])
    for name in names:
        del content["runs"][name]
    (copied / "manifest.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match="name='coto-seed1': no such run"):
        load_runs("CoTo")
    with pytest.raises(ValueError, match=f"name='{names[1]}': no such run"):
        load_sweep("LoRA", RATES[0])


def test_what_is_stored_in_half_precision_is_read_as_float32(tmp_path: Path) -> None:
    config = {"peft_type": "SHIRA"}
    adapter = Adapter(config, {"values": torch.tensor([1.0, 1 / 3]), "places": torch.tensor([[0, 1]])})
    gallery.in_half(adapter).save(tmp_path)
    found = gallery.load_half(tmp_path, "a base")
    assert found.base == "a base" and found.tensors["values"].dtype == torch.float32
    assert torch.equal(found.tensors["values"], torch.tensor([1.0, 0.333251953125]))
    assert torch.equal(found.tensors["places"], adapter.tensors["places"])
