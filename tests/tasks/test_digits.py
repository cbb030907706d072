from __future__ import annotations

import json

import pytest
import torch
from datasets import Dataset
from sklearn.datasets import load_digits
from torch import Tensor

from coto_lab import Recipe, Task, Training, load_task
from coto_lab.ground.files import data_path
from coto_lab.tasks.digits import handwritten_digits, load_glyph_vit
from coto_lab.tasks.glyphs import HELD_OUT_FONTS, TRAIN_FONTS, sample_prints

SCORES = json.loads(data_path("glyph-vit", "scores.json").read_text())


@pytest.fixture(scope="module")
def base() -> torch.nn.Module:
    return load_glyph_vit().eval()


def accuracy(model: torch.nn.Module, images: Tensor, labels: Tensor, classes: int) -> float:
    with torch.no_grad():
        return (model(pixel_values=images).logits[:, :classes].argmax(1) == labels).double().mean().item()


def test_the_split_has_16_shots_a_class_and_the_rest(task: Task) -> None:
    assert isinstance(task.train, Dataset) and isinstance(task.test, Dataset)
    assert (len(task.train), len(task.test)) == (160, 1637)
    assert torch.bincount(task.train_batch["labels"]).tolist() == [16] * 10
    assert task.train_batch["labels"].dtype == torch.int64
    assert task.classes == tuple("0123456789")


def test_every_handwritten_digit_is_in_one_split_once(task: Task) -> None:
    batches = task.train_batch, task.test_batch
    images = torch.cat([batch["pixel_values"] for batch in batches]).flatten(1)
    labels = torch.cat([batch["labels"] for batch in batches])
    originals = torch.from_numpy(load_digits().images).float()[:, None] / 16
    enlarged = torch.nn.functional.interpolate(originals, size=(16, 16), mode="bilinear") * 2 - 1
    expected = sorted(zip(enlarged.flatten(1).tolist(), load_digits().target.tolist(), strict=True))
    assert sorted(zip(images.tolist(), labels.tolist(), strict=True)) == expected


def test_images_are_ink_1_on_paper_minus_1(task: Task) -> None:
    for batch in (task.train_batch, task.test_batch):
        images = batch["pixel_values"]
        assert images.dtype == torch.float32 and images.shape[1:] == (1, 16, 16)
        assert images.min() == -1 and images.max() == 1
        assert images[:, :, :, 0].mean() < -0.9  # the border is paper


def test_the_task_is_the_same_every_time(task: Task) -> None:
    torch.manual_seed(1)  # of no consequence
    train, test = handwritten_digits()
    for split, batch in ((train, task.train_batch), (test, task.test_batch)):
        assert all(torch.equal(split[:][name], column) for name, column in batch.items())
    assert load_task("digits").base == task.base


def test_adapters_go_on_the_attention_of_all_8_blocks(task: Task, base: torch.nn.Module) -> None:
    names = [name for name, _ in base.named_modules() if name.endswith(task.target_modules)]
    assert len(names) == 24 and all(any(f".layers.{i}." in name for name in names) for i in range(8))


def test_the_base_reads_handwriting_as_its_card_says(task: Task, base: torch.nn.Module) -> None:
    batch = task.test_batch
    zero_shot = accuracy(base, batch["pixel_values"], batch["labels"], 10)
    assert zero_shot == pytest.approx(SCORES["handwriting"], abs=1e-6)
    assert 0.35 < zero_shot < 0.60


@pytest.mark.parametrize(("name", "fonts"), [("prints", TRAIN_FONTS), ("unseen_fonts", HELD_OUT_FONTS)])
def test_the_base_reads_prints_as_its_card_says(base: torch.nn.Module, name: str, fonts: tuple[str, ...]) -> None:
    images, labels = sample_prints(fonts, 1000, torch.Generator().manual_seed(12))
    read = accuracy(base, images, labels, 36)
    assert read >= 0.95 and read == pytest.approx(SCORES[name], abs=0.02)


def test_every_copy_of_the_base_is_fresh(base: torch.nn.Module) -> None:
    spoilt = load_glyph_vit()
    with torch.no_grad():
        for parameter in spoilt.parameters():
            parameter.zero_()
    fresh = load_glyph_vit().state_dict()
    assert all(torch.equal(fresh[name], tensor) for name, tensor in base.state_dict().items())


def test_logits_and_loss_count_the_tasks_classes_only(task: Task, base: torch.nn.Module) -> None:
    batch = {name: column[:12] for name, column in task.train_batch.items()}
    with torch.no_grad():
        everything = base(pixel_values=batch["pixel_values"]).logits
        logits = task.predict(base, batch)
        loss = task.loss(logits, batch).mean()
    assert everything.shape == (12, 36) and torch.equal(logits, everything[:, :10])
    chosen = logits.log_softmax(1)[torch.arange(12), batch["labels"]]
    assert loss.item() == pytest.approx(-chosen.mean().item(), rel=1e-5)


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(ValueError, match="name='letters': no such task; there is 'digits'"):
        load_task("letters")


def test_an_adapter_names_its_base_without_naming_this_machine(task):
    training = Training(task, Recipe(steps=1))
    assert training.run().adapter.config["base_model_name_or_path"] == "coto_lab/glyph-vit"
