"""The folder that ``pages/playground.py`` writes."""

from __future__ import annotations

import filecmp
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from colab import repository
from sklearn.datasets import load_digits

import playground
from coto_lab import Classification

ROOT = Path(__file__).parents[2]


def test_the_files_of_the_model_are_the_repository_s(written: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        assert filecmp.cmp(written / "model" / name, ROOT / "data/glyph-vit" / name, shallow=False)
    folders = sorted(folder.name for folder in (written / "adapters").iterdir())
    assert folders == sorted(f"{method}-seed{seed}" for method in ("lora", "coto") for seed in range(5))
    for name in folders:
        for file in ("adapter_config.json", "adapter_model.safetensors"):
            assert filecmp.cmp(written / "adapters" / name / file, ROOT / "data/gallery" / name / file, shallow=False)


def test_the_sources_are_in_the_page(written: Path) -> None:
    sources = [file.relative_to(ROOT / "playground") for file in (ROOT / "playground").rglob("*") if file.is_file()]
    index = (ROOT / "playground/index.html").read_text(encoding="utf-8").replace("{repository}", repository(ROOT))
    assert sources and (written / "index.html").read_text(encoding="utf-8") == index
    for source in sources:
        if source.name == "index.html":
            continue
        assert filecmp.cmp(written / source, ROOT / "playground" / source, shallow=False)


def test_images_are_the_test_set(written: Path, task: Classification) -> None:
    found = json.loads((written / "images.json").read_text())
    assert len(found["images"]) == len(found["labels"]) == len(task.test) == 1637
    assert [int(label) for label in found["labels"]] == task.test["labels"][:].tolist()
    known = {tuple(image.astype(int).flatten()): label for image, label in zip(*load_digits(return_X_y=True), strict=True)}
    for digits, label in zip(found["images"], found["labels"], strict=True):
        assert known[tuple(int(digit, 17) for digit in digits)] == int(label)


def test_the_browser_enlarges_images_as_the_task_does(run_js: Callable[..., Any], task: Classification) -> None:
    pixels = run_js("""
        const { countsOf, enlarged } = await load("images.js");
        const { images } = await json("images.json");
        return floats(Float32Array.from(images.flatMap((digits) => [...enlarged(countsOf(digits))])));
    """)
    assert torch.equal(pixels.view(-1, 1, 16, 16), task.test["pixel_values"][:])


def test_other_images_are_refused() -> None:
    with pytest.raises(ValueError, match="did the task change"):
        playground.counts_of(torch.linspace(-1, 1, 256).sin().view(1, 16, 16))


def test_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not an empty folder"):
        playground.write(ROOT, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
