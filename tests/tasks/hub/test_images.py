"""Images to classes, by a small model of each architecture, end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import datasets
import numpy as np
import peft
import pytest
import torch
from tiny_classifiers import COLOURS, IMAGE_MODELS, colour_data, save_image_model, save_parquet, text_data
from torch.nn import functional as F

from coto_lab import Evaluator, Linear, Recipe, Variant, fit, prune
from coto_lab.tasks.hub.images import ImageClassification
from coto_lab.tasks.hub.source import Source

RECIPE = Recipe(r=2, alpha=6, steps=6, batch_size=8, lr=3e-3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_parquet(tmp_path_factory.mktemp("colours"), colour_data())


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_image_model(tmp_path_factory.mktemp("vit"), "vit")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory):
    """Where datasets keeps what it read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
        yield


def logits(model: torch.nn.Module, task: ImageClassification) -> torch.Tensor:
    with torch.no_grad():
        return task.predict(model.eval(), task.batch("test", range(task.size("test"))))


@pytest.mark.parametrize("kind", IMAGE_MODELS)
def test_from_a_folder_to_an_adapter_that_stock_peft_loads(kind: str, data: str, tmp_path: Path) -> None:
    task = ImageClassification(save_image_model(tmp_path / "model", kind), data)
    assert (task.classes, task.modules_to_save) == (COLOURS, ("classifier",))
    lora, coto = (fit(task, recipe, progress=False) for recipe in (RECIPE, replace(RECIPE, schedule=Linear())))
    assert lora.history.loss[-2:].mean() < lora.history.loss[:2].mean()
    evaluator = Evaluator(task)
    scores = evaluator([Variant(lora.adapter), Variant(coto.adapter)], outputs=True)

    coto.save(tmp_path / "run")
    stock = peft.PeftModel.from_pretrained(task.load_base(), tmp_path / "run")
    torch.testing.assert_close(scores.logits[1], logits(stock, task))
    base = task.load_base()
    base.load_state_dict(base.state_dict() | coto.adapter.apart()[1])
    patterns = prune(task, coto, evaluator=evaluator)
    expected = F.cross_entropy(logits(base, task).double(), task.batch("test", range(18))["labels"])
    assert patterns.patterns[-1] == "none" and patterns.loss[-1].item() == pytest.approx(expected.item(), rel=1e-6)


def test_pixels_are_the_processor_s(vit: str, data: str) -> None:
    task = ImageClassification(vit, data)
    image = colour_data()["validation"][4]["image"]
    expected = task.processor(images=[image], return_tensors="pt")["pixel_values"]
    assert torch.equal(task.batch("test", [4])["pixel_values"], expected) and expected.shape == (1, 3, 8, 8)


def test_examples_are_shown_in_grey(vit: str) -> None:
    from PIL import Image

    features = datasets.Features({"picture": datasets.Image(), "label": datasets.ClassLabel(names=["dark", "light"])})
    pictures = [Image.new("RGB", (30, 20), colour) for colour in ("black", "white")]
    rows = datasets.Dataset.from_dict({"picture": pictures, "label": [0, 1]}, features=features)
    task = ImageClassification(vit, datasets.DatasetDict(train=rows, validation=rows), image="picture")
    dark, light = task.show("test", torch.tensor([0, 1]))
    assert (dark.answer, light.answer) == ("dark", "light")
    assert torch.equal(dark.image, torch.ones(1, 64, 64)) and torch.equal(light.image, -torch.ones(1, 64, 64))


def test_grey_images_and_those_with_transparency_are_read_as_colours(vit: str) -> None:
    from PIL import Image

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    pictures = [Image.new(mode, (9, 9)) for mode in ("L", "RGBA")]
    rows = datasets.Dataset.from_dict({"image": pictures, "label": [0, 1]}, features=features)
    task = ImageClassification(vit, datasets.DatasetDict(train=rows, validation=rows))
    assert task.batch("train", [0, 1])["pixel_values"].shape == (2, 3, 8, 8)


def test_columns_that_do_not_fit(vit: str, data: str) -> None:
    with pytest.raises(ValueError, match=r"has no column 'picture'.*'image', 'label'"):
        ImageClassification(vit, data, image="picture").size("train")
    task = ImageClassification(vit, text_data(), image="sentence")
    with pytest.raises(ValueError, match=r"has a str in its column 'sentence': it must be an image\. .*cast_column"):
        fit(task, RECIPE, progress=False)


def with_pictures(pictures: list, labels: tuple[int, ...] = (0, 1)) -> datasets.DatasetDict:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
    rows = datasets.Dataset.from_dict({"image": pictures, "label": list(labels)}, features=features)
    return datasets.DatasetDict(train=rows, validation=rows)


def test_images_in_16_bits_keep_their_range(vit: str) -> None:
    from PIL import Image

    wide = np.linspace(0, 2**16 - 1, 64).astype(np.uint16).reshape(8, 8)
    narrow = (wide // 256).astype(np.uint8)
    task = ImageClassification(vit, with_pictures([Image.fromarray(wide), Image.fromarray(narrow)]))
    assert task.data["train"][0]["image"].mode == "I;16"
    pixels = task.batch("train", [0, 1])["pixel_values"]
    assert torch.equal(pixels[0], pixels[1]) and pixels.unique().numel() > 60


def test_images_of_unknown_range_and_missing_ones_are_refused(vit: str) -> None:
    from PIL import Image

    plain = Image.new("L", (8, 8))
    for mode in ("I", "F"):
        task = ImageClassification(vit, with_pictures([plain, Image.new(mode, (8, 8))]))
        with pytest.raises(ValueError, match=rf"test\[1\] is an image of mode '{mode}', in 32-bit numbers, and nothing says"):
            task.batch("test", [0, 1])
    with pytest.raises(ValueError, match=r"train\[1\] has image=None, so there is nothing to classify"):
        ImageClassification(vit, with_pictures([plain, None])).size("train")


@pytest.mark.parametrize("kind", IMAGE_MODELS)
def test_in_half_precision(kind: str, data: str, tmp_path: Path) -> None:
    task = ImageClassification(Source(save_image_model(tmp_path, kind), dtype="bfloat16"), data)
    run = fit(task, replace(RECIPE, steps=2), progress=False)
    assert Evaluator(task)([Variant(run.adapter)]).loss.isfinite().all()
