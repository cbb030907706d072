from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_diffusion import use_tiny_diffuser

from coto_lab import Evaluator, Linear, Recipe, Variant, fit_many
from coto_lab.ground.files import sha256
from coto_lab.tasks.check import check_task, try_task
from coto_lab.tasks.glyph_diffusion import (
    KNOWN_CHARACTERS,
    NEW_CHARACTERS,
    GlyphDiffusion,
    draw_prints,
    hatched,
    load_content_task,
    load_style_task,
)
from coto_lab.tasks.glyphs import CLASSES


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return use_tiny_diffuser(tmp_path, monkeypatch)


@pytest.fixture
def content(folder: Path) -> GlyphDiffusion:
    return load_content_task()


def test_no_character_is_both_known_and_new() -> None:
    assert sorted(KNOWN_CHARACTERS + NEW_CHARACTERS) == sorted(CLASSES)
    assert set(load_content_task().characters).isdisjoint(load_style_task().characters)


def test_hatching_takes_a_third_of_the_ink_away() -> None:
    ink = torch.ones(1, 64, 64)
    found = hatched(ink)[0]
    assert found.mean().item() == pytest.approx(2 / 3, abs=0.01)
    assert torch.equal(found[1:, :-1], found[:-1, 1:])  # along the diagonals
    assert torch.equal(hatched(torch.zeros(1, 64, 64)), torch.zeros(1, 64, 64))


def test_prints_are_of_the_characters_in_turn_and_a_function_of_the_generator() -> None:
    first, labels = draw_prints("A7", 5, torch.Generator().manual_seed(3))
    again, _ = draw_prints("A7", 5, torch.Generator().manual_seed(3))
    assert [CLASSES[label] for label in labels] == ["A", "7", "A", "7", "A"]
    assert first.shape == (5, 1, 16, 16)
    assert torch.equal(first, again)


@pytest.mark.parametrize("load", [load_content_task, load_style_task])
def test_it_keeps_to_the_protocol(folder: Path, load: object) -> None:
    task = load()
    check_task(task)
    for split in ("train", "test"):
        try_task(task, task.load_base(), split)
    assert (task.size("train"), task.size("test")) == (3840, 480)
    assert task.base == sha256(folder / "diffusion_pytorch_model.safetensors")


def test_noisy_image_and_velocity_are_as_the_docstring_says(content: GlyphDiffusion) -> None:
    batch = content.batch("train", [0, 1, 77, 3839])
    a, b = batch["a"], batch["b"]
    noise = (batch["noisy"] - a * batch["image"]) / b
    assert torch.allclose(a**2 + b**2, torch.ones(4, 1, 1, 1))
    assert torch.allclose(batch["velocity"], a * noise - b * batch["image"], atol=1e-3)
    assert torch.equal(batch["image"][0], batch["image"][1])  # one print, with noise of its own in each example
    assert not torch.equal(noise[0], noise[1])


def test_the_true_velocity_has_no_loss_and_all_pixels_right(content: GlyphDiffusion) -> None:
    batch = content.batch("test", range(20))
    found = content.measure(batch["velocity"], batch)
    assert found["loss"].abs().max() == 0
    assert found["correct"].min() > 0.99  # a pixel on mid-grey may be rounded to either side
    opposite = content.measure((batch["a"] * batch["noisy"] + batch["image"]) / batch["b"], batch)  # of the negative image
    assert opposite["correct"].max() < 0.01
    half = batch["velocity"].clone()
    half[:, :, :8] += 3
    assert torch.allclose(content.loss(half, batch), torch.full((20,), 4.5))


def test_what_an_example_says_does_not_depend_on_its_batch(content: GlyphDiffusion) -> None:
    model = content.load_base()
    alone = content.predict(model, content.batch("test", [5]))
    among = content.predict(model, content.batch("test", torch.tensor([1, 5, 9])))
    assert torch.allclose(alone[0], among[1], atol=1e-5)


def test_examples_are_shown_without_noise(content: GlyphDiffusion) -> None:
    shown = content.show("test", [0, 8])
    assert [example.answer for example in shown] == list(NEW_CHARACTERS[:2])
    assert torch.equal(shown[1].image, content.batch("test", [8])["image"][0])
    assert content.every(8).size("test") == 60


def test_rows_train_as_adapters_alone_and_get_better(content: GlyphDiffusion) -> None:
    plain = Recipe(r=4, lr=2e-2, steps=12, batch_size=8)
    runs = fit_many(content, [plain, Recipe(r=4, lr=2e-2, steps=12, batch_size=8, schedule=Linear())], progress=False)
    (alone,) = fit_many(content, [plain], progress=False)
    assert torch.allclose(runs[0].history.loss, alone.history.loss, atol=1e-4)
    evaluator = Evaluator(content.every(4))
    shut = torch.zeros(len(evaluator.sites(runs[0].adapter)), dtype=torch.bool)
    base, trained = evaluator([Variant(runs[0].adapter, shut), Variant(runs[0].adapter)]).loss.tolist()
    assert trained < base


def test_an_unknown_split_is_refused(content: GlyphDiffusion) -> None:
    with pytest.raises(ValueError, match="split='valid'"):
        content.size("valid")
    with pytest.raises(ValueError, match="split='valid'"):
        content.batch("valid", [0])


def test_a_missing_model_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("coto_lab.tasks.diffuser.BASE", "no-such-folder")
    with pytest.raises(FileNotFoundError, match="no-such-folder"):
        load_content_task().load_base()
